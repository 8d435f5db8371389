-- The feed of invalidations: what is written for each way an entry goes, and who may read and write it.
begin;
select plan(20);

insert into public.generation_status (
    prompt_hash, kind, recipe, prompt, dimensions, model, format, status, window_started_at, fence, created_at,
    updated_at, completed_at
)
select
    repeat(d.digit, 64) as prompt_hash,
    'image' as kind,
    '{}' as recipe,
    'a fox' as prompt,
    '64x64' as dimensions,
    'm' as model,
    'png' as format,
    'completed' as status,
    now() as window_started_at,
    1 as fence,
    now() as created_at,
    now() as updated_at,
    now() as completed_at
from unnest(array['a', 'b', 'c']) as d (digit);
insert into copperplate.cache_entries (
    key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height, created_at,
    last_accessed_at
)
select
    g.prompt_hash as key,
    g.prompt_hash as generation_key,
    'image' as kind,
    true as is_original,
    'generated-images' as bucket,
    '2026/01/' || g.prompt_hash || '.png' as path,
    g.prompt_hash as digest,
    1000 as file_size,
    'png' as format,
    64 as width,
    64 as height,
    now() as created_at,
    now() as last_accessed_at
from public.generation_status as g;

create function pg_temp.told()
returns text
language sql
as $$
    select string_agg(coalesce(left(i.generation_key, 1), 'all') || coalesce(' ' || i.tier, ''), ', ' order by i.id)
    from copperplate.invalidations as i
$$;

set local role service_role;

select is(pg_temp.told(), null, 'what is added is not told');
update copperplate.cache_entries set access_count = access_count + 1, is_shown = true, path = path;
select is(pg_temp.told(), null, 'nor is what is counted');
update copperplate.cache_entries set path = '2026/02/' || key || '.png'
where key = repeat('a', 64);
select is(pg_temp.told(), 'a', 'an entry that has another object is');
delete from public.generation_status
where prompt_hash = repeat('b', 64);
select is(pg_temp.told(), 'a, b', 'so is what goes with its generation');
delete from copperplate.cache_entries
where key = repeat('0', 64);
select is(pg_temp.told(), 'a, b', 'a statement that takes nothing away writes nothing');
select is(
    array(select distinct i.transaction from copperplate.invalidations as i), array[pg_current_xact_id()],
    'rows are of the transaction that wrote them'
);
do $$
begin
    delete from copperplate.cache_entries where key = repeat('c', 64);
    raise exception 'undone';
exception
    when raise_exception then null;
end;
$$;
select is(pg_temp.told(), 'a, b', 'what is undone is not told');

select is(public.invalidate_tiers(array['disk', 'redis'], array['c', 'c']), 2::bigint, 'tiers are named one by one');
select is(public.invalidate_tiers(array['memory']), 1::bigint, 'with no keys it is all of them');
select is(public.invalidate_tiers(array['memory'], '{}'), 0::bigint, 'with none of them nothing');
select is(public.invalidate_tiers(array[null]::text[]), 0::bigint, 'nor without a tier');
select is(
    array(
        select i.tier || coalesce(i.generation_key, '') from copperplate.invalidations as i
        where i.tier is not null
        order by 1
    ),
    array['diskc', 'memory', 'redisc'], 'and nothing else is written'
);
select throws_ok('select public.invalidate_tiers(array[''cdn''])', '23514', null, 'a tier without copies is refused');

select is(public.read_feed() -> 'is_continued', 'false', 'a reader without a cursor goes on from nowhere');
select matches(public.read_feed() ->> 'database', '^[0-9a-f]{32}$', 'a database has an id');
select throws_ok(
    'select public.read_feed(''1:'', public.read_feed() ->> ''database'')', '22P02', null, 'a cursor is a snapshot'
);

reset role;
truncate copperplate.cache_entries;
select matches(pg_temp.told(), 'all$', 'a table that is emptied is told as everything');

set local role anon;
select throws_ok('select public.read_feed()', '42501', null, 'anon reads no feed');
set local role authenticated;
select throws_ok('select public.read_feed()', '42501', null, 'nor does a user');
select throws_ok('select public.invalidate_tiers(array[''memory''])', '42501', null, 'nor does a user');

reset role;
select * from finish();
rollback;
