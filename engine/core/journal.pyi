from engine.core.arena import Arena

CHANGES: tuple[str, ...]

def read(arena: Arena, since: int) -> list[tuple[int, float, str, int, int, int]]: ...
