"""The flat memory that holds all mutable state: a private heap, or a file mapped by every process of a host.

Attaching goes in named steps, so that "not yet" is never taken for "never":

    lock      take the init lock, byte 0 of the lock file beside the arena
    find      open the file; where there is none, make one aside and rename it into place when it is finished
    judge     size, magic, layout, boot, time namespace: refuse in words what does not fit
    map       only now is the file mapped
    unlock    give the init lock back
    claim     take the byte lock of a free row of the owner table for as long as the process lives (repair.attach)

Byte locks are `fcntl` locks: the kernel drops them when their process dies, however it dies, and a forked child does
not inherit them. They are lost when *any* descriptor of the lock file is closed, so a process opens it once: a second
`Arena.open` of the same path returns the same Arena.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap,
)

from engine.core.atomic cimport adm_load, adm_peek, adm_publish, adm_word
from engine.core.clock cimport ManualClock, clock_ns, adm_monotonic_ns, start_clock
from engine.core.layout cimport (
    ADM_JOURNAL_MAX, ADM_LINE, ADM_MAGIC, ADM_OWNERS_MAX, ADM_READY, ADM_REMOTE_MAX, ADM_ROWS_MAX, ADM_VERSION,
    adm_event, adm_header, adm_layout_hash, adm_owner, adm_remote, adm_row,
)

import errno
import fcntl
import os
import stat
import threading
import time
import weakref
from contextlib import contextmanager

MIN_SIZE = 4 << 20
DEFAULT_SIZE = 16 << 20
MAX_SIZE = 1 << 31      # a remote permit names its cell in 28 bits
LOCK_PATIENCE_S = 10.0

cdef uint64_t PAGE = 4096


class ArenaError(Exception):
    """An arena that cannot be used; the message says why and what mends it."""


cdef uint64_t _lines(uint64_t bytes) noexcept nogil:
    return (bytes + ADM_LINE - 1) // ADM_LINE * ADM_LINE


cdef void _lay_out(adm_header *header, uint64_t size) noexcept nogil:
    """The geometry of an arena of `size` bytes; a reader recomputes and compares it."""
    header.magic = ADM_MAGIC
    header.layout_hash = adm_layout_hash()
    header.layout_version = ADM_VERSION
    header.owners_max = ADM_OWNERS_MAX
    header.rows_max = ADM_ROWS_MAX
    header.remote_max = ADM_REMOTE_MAX
    header.size = size
    header.owners_at = PAGE
    header.rows_at = header.owners_at + ADM_OWNERS_MAX * sizeof(adm_owner)
    header.remote_at = header.rows_at + ADM_ROWS_MAX * sizeof(adm_row)
    header.journal_at = header.remote_at + _lines(ADM_REMOTE_MAX * sizeof(adm_word)) + ADM_REMOTE_MAX * sizeof(adm_remote)
    header.heap_at = header.journal_at + ADM_JOURNAL_MAX * sizeof(adm_event)


def _boot_id():
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return bytes.fromhex(file.read().strip().replace(b"-", b"").decode())
    except OSError:
        return bytes(16)


def _time_namespace():
    try:
        return os.stat("/proc/self/ns/time").st_ino
    except OSError:
        return 0


def _check_private(path, status):
    if not stat.S_ISREG(status.st_mode):
        raise ArenaError(f"{path}: not a regular file")
    if status.st_uid != os.geteuid():
        raise ArenaError(f"{path}: belongs to user {status.st_uid}, not to {os.geteuid()}; use a path of your own")
    if status.st_mode & 0o077:
        raise ArenaError(f"{path}: others may open it (mode {stat.S_IMODE(status.st_mode):o}); chmod 600 it")


def _check_folder(folder):
    """Somebody who may replace files here could slip another arena under a worker that starts."""
    try:
        status = os.stat(folder)
    except OSError as error:
        raise ArenaError(f"{folder}: {error.strerror}; make it first") from None
    if status.st_uid not in (os.geteuid(), 0):
        raise ArenaError(f"{folder}: belongs to user {status.st_uid}; use a folder of your own")
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        raise ArenaError(f"{folder}: others may replace files in it; chmod go-w it, or use a folder of your own")


def _open_file(path, flags):
    try:
        fd = os.open(path, flags | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ArenaError(f"{path}: a symbolic link; name the file itself") from None
        raise ArenaError(f"{path}: {error.strerror}") from None
    try:
        _check_private(path, os.fstat(fd))
    except ArenaError:
        os.close(fd)
        raise
    return fd


def _judge(path, bytes image, uint64_t file_size):
    """Refuse an image that does not fit this build. Returns False where it is only of an earlier boot."""
    cdef adm_header found
    cdef adm_header expected
    mend = "remove the file while nobody uses it, or choose another path"
    if <uint64_t>len(image) < sizeof(adm_header) or file_size < <uint64_t>MIN_SIZE:
        raise ArenaError(f"{path}: {file_size} bytes are too few for an arena (truncated?); {mend}")
    memcpy(&found, <char *>image, sizeof(adm_header))
    if found.magic != ADM_MAGIC:
        raise ArenaError(f"{path}: not an arena (no magic number); {mend}")
    if found.layout_version != ADM_VERSION:
        raise ArenaError(f"{path}: layout version {found.layout_version}, this build reads {ADM_VERSION}; {mend}")
    if found.layout_hash != adm_layout_hash():
        raise ArenaError(f"{path}: made by a build with another layout; {mend}")
    if adm_load(&found.state) != ADM_READY:
        raise ArenaError(f"{path}: was never finished; {mend}")
    if found.size != file_size:
        raise ArenaError(f"{path}: {file_size} bytes instead of {found.size} (truncated?); {mend}")
    _lay_out(&expected, found.size)
    if (found.owners_max, found.rows_max, found.remote_max, found.owners_at, found.rows_at, found.remote_at,
            found.heap_at) != (expected.owners_max, expected.rows_max, expected.remote_max, expected.owners_at,
                               expected.rows_at, expected.remote_at, expected.heap_at):
        raise ArenaError(f"{path}: its table of contents is damaged; {mend}")
    if adm_load(&found.heap_used) > found.size - found.heap_at:
        raise ArenaError(f"{path}: its heap is damaged; {mend}")
    boot = _boot_id()
    if (<char *>found.boot_id)[:16] != boot:
        return False
    if found.time_namespace != <uint64_t>_time_namespace():
        raise ArenaError(f"{path}: made in another time namespace, whose clock differs; use one arena per namespace")
    return True


cdef class Arena:
    """An attached arena. Make one with `Arena.private` or `Arena.open`; `path` is None for a private one."""

    def __cinit__(self):
        self.lock_fd = -1
        self.guard = threading.RLock()
        self.users = 1

    @staticmethod
    def private(size=DEFAULT_SIZE, manual=None):
        """An arena on this process's heap. A forked child gets a copy that goes its own way."""
        cdef Arena arena = Arena()
        arena._use_clock(manual)
        arena._map(_checked_size(size), MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1)
        arena._write_header()
        _arenas.add(arena)
        return arena

    @staticmethod
    def open(path, size=DEFAULT_SIZE, manual=None):
        """Attach to the arena file at `path`, made with `size` bytes where there is none.

        Raises ArenaError where the file does not fit, belongs to somebody else, or no owner row is free.
        """
        cdef Arena arena
        folder, name = os.path.split(os.path.abspath(os.fspath(path)))
        path = os.path.join(os.path.realpath(folder), name)
        with _registry_guard:
            arena = _by_path.get(path)
            if arena is not None and arena.users > 0:
                arena._same_file()
                arena.users += 1
                return arena
            arena = Arena()
            arena.path = path
            arena._use_clock(manual)
            arena._attach(_checked_size(size))
            _by_path[path] = arena
            _arenas.add(arena)
            return arena

    def _use_clock(self, manual):
        self.manual = manual
        self.time.manual_ns = NULL if manual is None else &(<ManualClock?>manual).now_ns
        self.time.manual_wall_ns = NULL if manual is None else &(<ManualClock?>manual).wall_ns

    def _map(self, uint64_t size, int flags, int fd):
        cdef void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0)
        cdef adm_header shape
        if base == MAP_FAILED:
            raise ArenaError(f"{self.path or 'private arena'}: cannot map {size} bytes")
        self.base = <char *>base
        self.header = <adm_header *>base
        self.time.shared = &self.header.clock
        self.size = size
        _lay_out(&shape, size)
        self.owners_at, self.rows_at = shape.owners_at, shape.rows_at
        self.remote_at, self.journal_at, self.heap_at = shape.remote_at, shape.journal_at, shape.heap_at
        self.views = <void **>calloc(ADM_ROWS_MAX, sizeof(void *))
        if self.views == NULL:
            raise MemoryError

    def _write_header(self):
        cdef bytes boot = _boot_id()
        cdef bytes secret = os.urandom(16)
        _lay_out(self.header, self.size)
        memcpy(self.header.boot_id, <char *>boot, 16)
        memcpy(self.header.secret, <char *>secret, 16)
        self.header.time_namespace = _time_namespace()
        start_clock(&self.header.clock)
        adm_publish(&self.header.state, ADM_READY)

    def _attach(self, size):
        _check_folder(os.path.dirname(self.path))
        self.lock_fd = _open_file(self.path + ".lock", os.O_CREAT)
        try:
            with self.init_lock():
                fd = self._find(size)
                try:
                    self._map(os.fstat(fd).st_size, MAP_SHARED, fd)
                finally:
                    os.close(fd)
        except BaseException:
            self._let_go()
            raise

    def _find(self, size):
        try:
            fd = _open_file(self.path, 0)
        except FileNotFoundError:
            return self._make(size)
        try:
            if _judge(self.path, os.pread(fd, sizeof(adm_header), 0), os.fstat(fd).st_size):
                return fd
            if self._anybody_alive():
                raise ArenaError(f"{self.path}: made in another boot and still in use; choose another path")
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return self._make(size)

    def _make(self, size):
        """A finished arena file at `path`. A maker that dies half-way leaves only `path`.new behind."""
        cdef Arena made = Arena()
        aside = self.path + ".new"
        try:
            os.unlink(aside)
        except FileNotFoundError:
            pass
        fd = _open_file(aside, os.O_CREAT | os.O_EXCL)
        try:
            try:
                _allocate(fd, size)
            except OSError as error:
                raise ArenaError(f"{self.path}: no room for {size} bytes: {error.strerror}") from None
            made.path = aside
            made._map(size, MAP_SHARED, fd)
            made._write_header()
            os.rename(aside, self.path)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _anybody_alive(self):
        cdef uint32_t row
        for row in range(1, ADM_OWNERS_MAX):
            if not self.lock_owner(row):
                return True
            self.unlock_owner(row)
        return False

    def _same_file(self):
        cdef adm_header found
        try:
            fd = _open_file(self.path, 0)
        except FileNotFoundError:
            image = b""
        else:
            image = os.pread(fd, sizeof(adm_header), 0)
            os.close(fd)
        if len(image) == sizeof(adm_header):
            memcpy(&found, <char *>image, sizeof(adm_header))
            if found.secret[0] == self.header.secret[0] and found.secret[1] == self.header.secret[1]:
                return
        raise ArenaError(f"{self.path}: was replaced while this process uses it; close the older engine first")

    @contextmanager
    def init_lock(self):
        """Hold the one lock of the arena, as often as wanted: for binders and attachers, never for a decision."""
        with self.guard:
            if self.users == 0:
                raise ArenaError(f"{self.path or 'private arena'}: closed")
            if self.lock_depth == 0 and self.lock_fd >= 0:
                self._wait_for_init_lock()
            self.lock_depth += 1
            try:
                yield
            finally:
                self.lock_depth -= 1
                if self.lock_depth == 0 and self.lock_fd >= 0:
                    self.unlock_owner(0)

    def _wait_for_init_lock(self):
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not self.lock_owner(0):
            if time.monotonic() > deadline:
                raise ArenaError(f"{self.path}: another process holds the init lock for {LOCK_PATIENCE_S:.0f} s")
            time.sleep(0.001)

    cdef bint lock_owner(self, uint32_t row) except -1:
        """Take the byte lock of an owner row (row 0: the init lock). False where a live process holds it."""
        try:
            fcntl.lockf(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise ArenaError(f"{self.path}.lock: {error.strerror}") from None
        return True

    cdef void unlock_owner(self, uint32_t row):
        fcntl.lockf(self.lock_fd, fcntl.LOCK_UN, 1, row)

    cdef bint claim_owner(self) except -1:
        """Make this process an owner; a new row's earlier permits are for the caller to give back."""
        cdef uint32_t row
        if self.owner:
            return False
        if self.lock_fd < 0:
            self.owner = 1 + self.forks % (ADM_OWNERS_MAX - 1)
            return True
        for row in range(1, ADM_OWNERS_MAX):
            if self.lock_owner(row):
                self._enter(row)
                return True
        raise ArenaError(f"{self.path}: all {ADM_OWNERS_MAX - 1} owner rows are taken by live processes")

    def _enter(self, uint32_t row):
        cdef adm_owner *entry = self.owner_row(row)
        adm_publish(&entry.life, adm_load(&entry.life) + 1)
        adm_publish(&entry.since_ns, adm_monotonic_ns())
        adm_publish(&entry.pid, os.getpid())
        self.owner = row

    cdef void *at(self, uint64_t offset, uint64_t bytes) noexcept nogil:
        """The address of `bytes` bytes at an aligned offset of the heap; NULL where they do not lie in it."""
        if offset % ADM_LINE or offset < self.heap_at or bytes > self.size or offset > self.size - bytes:
            return NULL
        return self.base + offset

    cdef adm_owner *owner_row(self, uint32_t row) noexcept nogil:
        return <adm_owner *>(self.base + self.owners_at) + row

    cdef adm_row *row(self, uint32_t index) noexcept nogil:
        return <adm_row *>(self.base + self.rows_at) + index

    cdef uint64_t allot(self, uint64_t bytes) except 0:
        """The offset of `bytes` zeroed bytes of the heap, on a line of their own. The caller holds the init lock."""
        cdef uint64_t used = adm_load(&self.header.heap_used)
        cdef uint64_t wanted = _lines(bytes)
        cdef uint64_t room = self.size - self.heap_at
        if used % ADM_LINE or used > room:
            raise ArenaError(f"{self.path or 'private arena'}: its heap is damaged")
        if wanted > room - used:
            raise ArenaError(f"{self.path or 'private arena'}: full ({self.size} bytes); make it with a larger size")
        adm_publish(&self.header.heap_used, used + wanted)
        return self.heap_at + used

    def close(self):
        """Detach one engine. With the last one this process stops being an owner; handles then raise ArenaError."""
        with _registry_guard, self.guard:
            if self.users == 0:
                return
            self.users -= 1
            if self.users == 0:
                self._let_go()

    def _let_go(self):
        self.users = 0
        self.owner = 0      # its row keeps the pid: what this process still held is given back by the next sweep
        self._forget_views()
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1

    def _forget_views(self):
        cdef uint32_t index
        if self.views != NULL:
            for index in range(ADM_ROWS_MAX):
                self.views[index] = NULL

    def _after_fork_in_child(self):
        """The child owns nothing yet: no row, no permits, no meters. Its first use claims a row of its own."""
        self.guard = threading.RLock()
        self.lock_depth = 0
        self.forks += 1
        self.owner = 0
        self.lines = None       # with it the waiters of the parent, and its watcher
        self.queued = 0
        self._forget_views()

    @property
    def closed(self):
        """Whether every engine of this process has closed it."""
        return self.users == 0

    @property
    def owner_index(self):
        """The row of the owner table that stamps this process's permits; 0 before its first use after a fork."""
        return self.owner

    @property
    def now(self):
        """The arena's time in seconds, the same for every process: that of CLOCK_MONOTONIC, give or take the drift allowed."""
        return clock_ns(&self.time) / 1e9

    @property
    def clock(self):
        """What time is read from: "manual", "ticks" (the time-stamp counter) or "monotonic"."""
        if self.time.manual_ns != NULL:
            return "manual"
        return "ticks" if adm_peek(&self.header.clock.ticking) else "monotonic"

    def stats(self):
        """Sizes and counts of the arena, as a dictionary."""
        cdef uint32_t row
        alive = 1 if self.lock_fd < 0 else 0
        for row in range(1, ADM_OWNERS_MAX):
            alive += adm_load(&self.owner_row(row).pid) != 0
        return {
            "path": self.path,
            "owners": alive,
            "owners_max": ADM_OWNERS_MAX - 1,
            "rows": adm_load(&self.header.rows_used),
            "rows_max": ADM_ROWS_MAX,
            "heap_used": adm_load(&self.header.heap_used),
            "heap_size": self.size - self.heap_at,
            "config_version": adm_load(&self.header.config_version),
        }

    def __dealloc__(self):
        cdef void *view = self.made
        cdef void *older
        while view != NULL:
            older = (<void **>view)[0]
            free(view)
            view = older
        free(self.views)
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
        if self.base != NULL:
            munmap(self.base, self.size)


def _checked_size(size):
    if not isinstance(size, int) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size = {size!r}: must be a whole number of bytes from {MIN_SIZE} to {MAX_SIZE}")
    return (size + PAGE - 1) // PAGE * PAGE


def _allocate(fd, size):
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)


_by_path = weakref.WeakValueDictionary()
_arenas = weakref.WeakSet()
_registry_guard = threading.RLock()


def _after_fork_in_child():
    global _registry_guard
    _registry_guard = threading.RLock()
    for arena in list(_arenas):
        arena._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
