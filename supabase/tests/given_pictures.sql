-- A picture that exists already goes from a lease to an entry, and nothing was submitted.
begin;
select plan(9);

create temporary table fox as
select
    p.recipe,
    public.cache_key(p.recipe) as key,
    public.rendition_cache_key(public.cache_key(p.recipe), 'original') as original_key,
    public.rendition_cache_key(public.cache_key(p.recipe), 'jpg') as jpg_key
from (
    values ('{"v": 1, "kind": "image", "prompt": "a fox", "width": 64, "height": 64, "model": "m"}'::jsonb)
) as p (recipe);
grant select on fox to service_role;

create function pg_temp.given(p_digit text, p_format text)
returns jsonb
language sql
as $$
    select jsonb_build_object(
        'path', '2026/01/' || repeat(p_digit, 64) || '.' || p_format, 'digest', repeat(p_digit, 64), 'size_bytes', 1000,
        'format', p_format, 'width', 64, 'height', 64
    )
$$;
create function pg_temp.intend(p_fence bigint)
returns boolean
language sql
as $$
    select public.intend_upload(
        f.key, p_fence, pg_temp.given('b', 'png') || '{"is_ai_made": false}', '{}',
        array[pg_temp.given('c', 'jpg') ->> 'path']
    )
    from fox as f
$$;

set local role service_role;
create temporary table lease as
select a.fence
from fox as f
cross join lateral public.acquire_generation(
    f.recipe, f.key, f.jpg_key, '00000000-0000-4000-8000-000000000001', '20 seconds'
) as a;

select ok(not pg_temp.intend(l.fence - 1), 'a stale fence stores nothing') from lease as l;
select ok(pg_temp.intend(l.fence), 'a picture that was never submitted may be stored') from lease as l;
select ok(pg_temp.intend(l.fence), 'said again it is the same') from lease as l;
select is(
    (select array[g.status, g.phase, g.submit_no::text] from public.generation_status as g),
    array['generating', 'uploading', '0'],
    'its generation is about to be stored, without a submit'
);
select is(
    (
        select c.is_ai_made
        from fox as f
        cross join lease as l
        cross join lateral public.complete_generation(
            f.key, l.fence, f.original_key, pg_temp.given('b', 'png') || '{"is_ai_made": false}', null,
            jsonb_build_array(pg_temp.given('c', 'jpg') || jsonb_build_object('key', f.jpg_key, 'quality', 85))
        ) as c
    ),
    false,
    'the answer tells that nobody says that a model made it'
);
select results_eq(
    $$ select e.is_original, e.is_ai_made, e.generation_ms from copperplate.cache_entries as e order by 1 $$,
    $$ values (false, false, null::bigint), (true, false, null) $$,
    'so do all its entries, and it took no time of the model'
);
select is(
    (select p.is_ai_made from fox as f cross join lateral public.peek_generation(f.key, f.jpg_key) as p),
    false,
    'and whoever looks'
);
select is(
    (select g.api_calls_made from public.generation_status as g), 0, 'no call was made'
);
select is((select count(*) from copperplate.submits), 0::bigint, 'and nothing is in the book');
reset role;

select * from finish();
rollback;
