"""TOML file -> PolicySet; complaints name file, key path, value and the mend.

`[defaults.<rule>]` lies under every policy, `[policies."service/*".<rule>]` under each policy whose
name starts with `service/`; the most specific table wins, key by key. All mistakes of a file are
collected before ConfigError is raised, each at the key where it was written.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import NODEFAULT

from engine.errors import Complaint, ConfigError
from engine.rules import (
    CHAOS_VARIABLE,
    KINDS,
    NAME,
    NAME_WORDS,
    Parameter,
    PolicySet,
    PolicySpec,
    Rule,
    parameters,
)

Keys = tuple[str, ...]
_WRONG = object()
_TOP = ("chaos", "defaults", "policies")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WORD = re.compile(r"\w+")
_VALUE_WIDTH = 60


def load(path: str | os.PathLike[str]) -> PolicySet:
    """Return the policies of the TOML file at `path`; ConfigError holds every complaint."""
    file = os.fspath(path)
    try:
        with open(file, "rb") as stream:
            text = stream.read().decode()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        message = f"must be UTF-8, but byte {error.start} is 0x{error.object[error.start]:02x}"
    else:
        return parse(text, file=file)
    raise ConfigError([Complaint(file, "", None, message)])


def parse(text: str, *, file: str = "<string>") -> PolicySet:
    """Return the policies in `text`, called `file` in complaints; ConfigError holds them all."""
    reading = _Reading(file)
    document = reading.document(text)
    policies = reading.policies(document)
    chaos = reading.chaos(document, policies)
    if reading.complaints:
        raise ConfigError(reading.complaints)
    return PolicySet({name: _spec(name, tables) for name, tables in policies.items()}, chaos)


class _Written(NamedTuple):
    keys: Keys
    raw: object
    value: Any


class _Table(NamedTuple):
    keys: Keys
    values: dict[str, _Written]


_Layer = dict[str, _Table]


class _Reading:
    """One reading of one file; `complaints` keeps their order and holds each once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.complaints: dict[Complaint, None] = {}

    def complain(self, keys: Keys, message: str, *, value: object = None) -> None:
        complaint = Complaint(self.file, _dotted(keys), _spelled(value), message)
        self.complaints[complaint] = None

    def document(self, text: str) -> dict[str, Any]:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.complain((), _located(str(error), text))
        except RecursionError:
            self.complain((), "is nested too deeply")
        except ValueError:
            self.complain((), "holds an integer of too many digits")
        return {}

    def policies(self, document: dict[str, Any]) -> dict[str, _Layer]:
        """Return the merged rule tables of each concrete policy by its name."""
        top = {key: (keys, value) for keys, key, value in self.entries((), document, known=_TOP)}
        defaults = self.layer(*top.get("defaults", (("defaults",), {})))
        keys, value = top.get("policies", (("policies",), {}))
        written = self.table(keys, value)
        layers = {name: self.policy((*keys, name), table) for name, table in written.items()}
        concrete = [name for name in layers if not name.endswith("/*")]
        merged = {name: _merged([defaults, *_covering(name, layers)]) for name in concrete}
        for name, layer in merged.items():
            if not layer and written[name] == {}:
                self.complain((*keys, name), f"must have a rule: {_listed(KINDS)}")
            self.settle(layer)
        if not merged and not self.complaints:
            self.complain((), 'has no policies, such as [policies."service/operation".rate_limit]')
        return merged

    def chaos(self, document: dict[str, Any], policies: dict[str, _Layer]) -> bool:
        """Return whether experiments are allowed; complain of those that are not."""
        allowed = document.get("chaos", False)
        if not isinstance(allowed, bool):
            self.complain(("chaos",), "must be a boolean, true or false", value=allowed)
        elif not allowed and os.environ.get(CHAOS_VARIABLE) != "1":
            for layer in policies.values():
                if table := layer.get("chaos"):
                    mend = f"chaos = true at the top of the file, or {CHAOS_VARIABLE}=1"
                    self.complain(table.keys, f"is an experiment, which needs {mend}")
        return bool(allowed)

    def policy(self, keys: Keys, value: object) -> _Layer:
        """Return the rule tables of a policy or prefix, with its name checked."""
        if NAME.fullmatch(keys[-1].removesuffix("/*")) is None:
            self.complain(keys, NAME_WORDS)
        return self.layer(keys, value)

    def layer(self, keys: Keys, value: object) -> _Layer:
        """Return the rule tables at `keys` by kind."""
        return {
            kind: _Table(where, self.rule(where, table, accepted=parameters(KINDS[kind])))
            for where, kind, table in self.entries(keys, value, known=KINDS)
        }

    def rule(
        self, keys: Keys, value: object, *, accepted: dict[str, Parameter]
    ) -> dict[str, _Written]:
        """Return what is written of one rule by parameter; what was wrong is marked as such."""
        if not isinstance(value, dict):
            self.table(keys, value)
            return {name: _Written(keys, value, _WRONG) for name in accepted}
        return {
            name: _Written(where, raw, self.value(where, raw, parameter=accepted[name]))
            for where, name, raw in self.entries(keys, value, known=accepted)
        }

    def value(self, keys: Keys, raw: object, *, parameter: Parameter) -> Any:
        try:
            if parameter.is_duration and not isinstance(raw, str):
                raise ValueError(parameter.words)
            return parameter.read(raw)
        except ValueError as error:
            self.complain(keys, str(error), value=raw)
            return _WRONG

    def settle(self, layer: _Layer) -> None:
        """Complain of what only a merged policy shows: missing keys, and keys in conflict."""
        for kind, table in layer.items():
            rule, accepted = KINDS[kind], parameters(KINDS[kind])
            for name, parameter in accepted.items():
                if parameter.is_required and name not in table.values:
                    self.complain((*table.keys, name), f"is missing: {parameter.words}")
            values = {name: parameter.default for name, parameter in accepted.items()}
            values |= {name: written.value for name, written in table.values.items()}
            if all(values[name] not in (_WRONG, NODEFAULT) for name in rule.related):
                self.reconcile(rule, table, values)

    def reconcile(self, rule: type[Rule], table: _Table, values: dict[str, Any]) -> None:
        if conflict := rule.conflict(values):
            named = set(_WORD.findall(conflict)) & set(rule.related)
            blamed = next(name for name in reversed(table.values) if name in named)
            keys, raw, _ = table.values[blamed]
            self.complain(keys, conflict, value=raw)

    def table(self, keys: Keys, value: object) -> dict[str, Any]:
        """Return `value` if it is a table, else an empty one after a complaint."""
        if isinstance(value, dict):
            return value
        self.complain(keys, "must be a table", value=value)
        return {}

    def entries(
        self, keys: Keys, value: object, *, known: Collection[str]
    ) -> Iterator[tuple[Keys, str, Any]]:
        """Yield key path, known key and value of a table; a misspelt key stands for its nearest."""
        table = self.table(keys, value)
        for key, item in table.items():
            if key in known:
                yield (*keys, key), key, item
                continue
            free = [name for name in known if name not in table]
            nearest = difflib.get_close_matches(key, free, n=1)
            mend = f"did you mean {nearest[0]}?" if nearest else f"known are {_listed(known)}"
            self.complain((*keys, key), f"unknown key; {mend}", value=item)
            yield from (((*keys, key), name, item) for name in nearest)


def _covering(name: str, layers: dict[str, _Layer]) -> list[_Layer]:
    """Return the layers of the prefixes that cover `name` and its own, the most specific last."""
    prefixes = [key for key in layers if key.endswith("/*") and name.startswith(key[:-1])]
    return [layers[key] for key in (*sorted(prefixes, key=len), name)]


def _merged(layers: Iterable[_Layer]) -> _Layer:
    """Return one layer; within each rule the keys of the most specific table come last."""
    merged: _Layer = {}
    for layer in layers:
        for kind, table in layer.items():
            below = merged[kind].values if kind in merged else {}
            kept = {name: value for name, value in below.items() if name not in table.values}
            merged[kind] = _Table(table.keys, kept | table.values)
    return merged


def _spec(name: str, layer: _Layer) -> PolicySpec:
    rules = (
        KINDS[kind](**{key: written.value for key, written in table.values.items()})
        for kind, table in layer.items()
    )
    return PolicySpec(name, tuple(rules))


def _dotted(keys: Keys) -> str:
    return ".".join(key if _BARE_KEY.fullmatch(key) else _json(key) for key in keys)


def _spelled(value: object) -> str | None:
    """Return `value` much as it is written in TOML, shortened; None for a table."""
    if value is None or isinstance(value, dict):
        return None
    try:
        text = _json(value)
    except ValueError:
        return "an integer of too many digits"
    return text if len(text) <= _VALUE_WIDTH else text[:_VALUE_WIDTH] + "..."


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _located(message: str, text: str) -> str:
    """Return a TOML error with its line and column, the document's last where it names none."""
    last_line = text.rpartition("\n")[2]
    line = text.count("\n") + 1
    return message.replace("at end of document", f"at line {line}, column {len(last_line) + 1}")
