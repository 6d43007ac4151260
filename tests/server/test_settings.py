"""Where settings come from, and what is refused."""

import os
import stat

import pytest

from server.address import Address
from server.settings import Settings, SettingsError, arena_path


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:50051", Address("::1", 50051)),
        ("unix:/run/a.sock", Address(path="/run/a.sock")),
    ],
)
def test_address_reads_back_when_written(text, address):
    assert Address.parse(text) == address
    assert str(address) == text
    assert address.local


@pytest.mark.parametrize("text", ["", ":80", "host", "host:", "host:http", "host:65536", "unix:"])
def test_address_raises_when_it_is_none(text):
    with pytest.raises(ValueError, match="neither HOST:PORT nor unix:PATH"):
        Address.parse(text)


def test_defaults_hold_when_nothing_is_said():
    settings = Settings.read({}, policies="p.toml", listen=None)
    assert (settings.listen, settings.web) == ("127.0.0.1:50051", "127.0.0.1:9464")
    assert (settings.message_bytes, settings.batch_bytes) == (65_536, 1_048_576)


def test_option_wins_when_the_variable_is_set_too():
    environ = {
        "ADMITTANCE_THREADS": "3",
        "ADMITTANCE_STREAMS": "7",
        "ADMITTANCE_POLICIES": "e.toml",
    }
    settings = Settings.read(environ, threads=5)
    assert (settings.threads, settings.streams, settings.policies) == (5, 7, "e.toml")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"grace_s": -1.0}, r"grace_s = -1.0: expected float >= 0"),
        ({"threads": 0}, r"threads = 0: expected int >= 1"),
        ({"threads": "many"}, r"threads = many: expected int, got str"),
        ({"listen": "nowhere"}, r"listen: 'nowhere' is neither HOST:PORT nor unix:PATH"),
        ({"web": "unix:/run/web"}, r"web: 'unix:/run/web' must be HOST:PORT"),
        ({"policies": ""}, r"policies: name the policy file with --policies FILE"),
        ({"listen": "0.0.0.0:1"}, r"listen: 0.0.0.0:1 can be reached .* --insecure-anywhere"),
        ({"web": "example.org:1"}, r"web: example.org:1 can be reached .* --insecure-anywhere"),
    ],
)
def test_read_raises_when_a_setting_is_wrong(options, complaint):
    with pytest.raises(SettingsError, match=complaint):
        Settings.read({}, **{"policies": "p.toml", **options})


def test_any_address_is_taken_when_insecure_anywhere_is_said():
    settings = Settings.read({}, policies="p", listen="0.0.0.0:1", insecure_anywhere=True)
    assert settings.listen == "0.0.0.0:1"


def test_arena_lies_in_a_private_runtime_folder_when_none_is_named(tmp_path):
    path = arena_path(Settings(policies="p"), {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert path == str(tmp_path / "admittance/arena")
    assert stat.S_IMODE(os.stat(tmp_path / "admittance").st_mode) == 0o700


def test_arena_is_the_named_one_when_named():
    assert arena_path(Settings(policies="p", arena="/a/b"), {}) == "/a/b"


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_runtime_folder_is_refused_when_it_is_not_private(tmp_path, kind):
    folder = tmp_path / "admittance"
    if kind == "open to others":
        folder.mkdir()
        folder.chmod(0o755)
    elif kind == "a link":
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "real")
    else:
        folder.touch(mode=0o600)
    with pytest.raises(OSError, match="admittance"):
        arena_path(Settings(policies="p"), {"XDG_RUNTIME_DIR": str(tmp_path)})
