import engine
from engine import rules

eng = engine.Engine(arena=None)  # or the path of an arena file: every process that names it shares it
pay = engine.Policy("payments/charge", rules.RateLimit("100/s", burst=3), rules.Bulkhead(32),
                    rules.Breaker(window=100, failure_rate=0.5, open_for=30), engine=eng)

@pay  # def and async def; a raised exception is a failure, a cancelled call counts neither way
def charge(order):
    return f"charged {order}"

print(charge("order 1"))
with pay:  # the same as a block
    print("charged order 2")
for _ in range(2):
    permit = pay.try_acquire()  # the same as a value: no exception, a verdict
    print(permit.success() if permit else f"{permit.reason}, retry after {permit.retry_after:.3f} s")
