"""What a program may use at most; the kernel ends it beyond that."""

import resource

_OPEN_FILES = 32


def limit(*, cpu_seconds: int, memory_bytes: int, file_bytes: int = 0) -> None:
    """Limits this process for good; without `file_bytes` it can write to no file."""
    for what, most in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
