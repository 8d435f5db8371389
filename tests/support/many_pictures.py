"""Many pictures in a database at once: the original alone, without an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copperplate.recipes.objects import sha256_hex

if TYPE_CHECKING:
    import psycopg

FILL = """
insert into public.generation_status (
    prompt_hash, kind, recipe, dimensions, model, format, status, window_started_at, fence, created_at, updated_at,
    completed_at
)
select
    encode(sha256(n::text::bytea), 'hex'), 'image', '{}', '64x64', 'm', 'png', 'completed', now(), 1, now(), now(),
    now()
from generate_series(0, %(count)s - 1) as n
on conflict do nothing;
insert into copperplate.cache_entries (
    key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height, created_at,
    last_accessed_at
)
select
    encode(sha256(('entry ' || g.prompt_hash)::bytea), 'hex'), g.prompt_hash, 'image', true, 'generated-images',
    '2026/01/' || g.prompt_hash || '.png', g.prompt_hash, 1, 'png', 1, 1, now(), now()
from public.generation_status as g
where g.model = 'm'
on conflict do nothing;
analyze public.generation_status, copperplate.cache_entries;
"""


def fill_pictures(connection: psycopg.Connection[Any], count: int) -> list[str]:
    """Insert so many pictures; answers the keys of their generations."""
    for statement in FILL.replace("%(count)s", str(count)).split(";\n"):
        connection.execute(statement.encode())
    return [sha256_hex(str(number).encode()) for number in range(count)]
