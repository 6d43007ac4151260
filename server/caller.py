"""The command `admit`: a gRPC caller that says what it was answered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import msgspec

from server.pb.admittance.v1 import admission_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Admission"].full_name
ROOM_S = 10  # a permit outlives the time that its caller means to hold it by this much


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask: `times` admissions, each permit held `hold_s` seconds and then reported."""

    policy: str
    times: int
    hold_s: float
    report: str


def call(plan: Plan, target: str) -> Iterator[str]:
    """Carry out the plan and yield a line for each answer and a summary; raises grpc.RpcError.

    With a hold time all permits are taken first, held together and then reported; without, each is
    reported before the next is asked for.
    """
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        admit = _method(channel, "Admit", pb.AdmitRequest, pb.AdmitResponse)
        report = _method(channel, "Report", pb.ReportRequest, pb.ReportResponse)
        request = _request(plan)
        counts: Counter[str] = Counter()
        held: list[tuple[bytes, float]] = []
        for number in range(1, plan.times + 1):
            began = time.monotonic()
            answer = admit(request)
            counts[_word(answer)] += 1
            yield f"{number:>4}  {describe(answer)}"
            if answer.permit:
                held.append((answer.permit, began))
            if not plan.hold_s:
                yield from _settle(report, held, plan.report)
        if held:
            yield f"holding {len(held)} permits for {plan.hold_s:g} s"
            time.sleep(plan.hold_s)
            yield from _settle(report, held, plan.report)
        yield _summary(counts)


def describe(answer: pb.AdmitResponse) -> str:
    """Return one line for a person to read."""
    left = f"{answer.remaining} of {answer.limit} left" if answer.limit else ""
    if answer.decision != pb.DECISION_REFUSED:
        return f"{_word(answer):<10}{left}".rstrip()
    retry = f", retry after {answer.retry_after_ms / 1000:g} s" if answer.retry_after_ms else ""
    return f"{'refused':<10}{_word(answer)}{retry}"


def _request(plan: Plan) -> pb.AdmitRequest:
    hold_ms = round((plan.hold_s + ROOM_S) * 1000) if plan.hold_s else 0
    return pb.AdmitRequest(policy=plan.policy, hold_ms=hold_ms)


def _method(channel: grpc.Channel, name: str, request: Any, response: Any) -> Any:
    return channel.unary_unary(
        f"/{SERVICE}/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


def _settle(report: Any, held: list[tuple[bytes, float]], outcome: str) -> Iterator[str]:
    while held:
        permit, began = held.pop(0)
        if outcome == "none":
            continue
        answer = report(
            pb.ReportRequest(
                permit=permit,
                outcome=pb.Outcome.Value(f"OUTCOME_{outcome.upper()}"),
                duration_us=round((time.monotonic() - began) * 1e6),
                final=True,
            )
        )
        if answer.result != pb.REPORT_RESULT_SETTLED:
            name = _spelled(pb.ReportResult.Name(answer.result), "REPORT_RESULT_")
            yield f"      report: {name}"


def _word(answer: pb.AdmitResponse) -> str:
    if answer.decision == pb.DECISION_REFUSED:
        return _spelled(pb.Reason.Name(answer.reason), "REASON_")
    return _spelled(pb.Decision.Name(answer.decision), "DECISION_")


def _spelled(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _summary(counts: Counter[str]) -> str:
    total = counts.total()
    admitted = counts.pop("admitted", 0) + counts.pop("degraded", 0)
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
    refused = f"{total - admitted} refused" + (f" ({reasons})" if reasons else "")
    return f"{total} calls: {admitted} admitted, {refused}"
