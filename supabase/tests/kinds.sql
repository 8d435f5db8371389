-- A kind is a row: a new one has a bucket, entries, statistics and a cleanup by its own rules without a change of code.
begin;
select plan(15);

select results_eq(
    'select k.name, k.bucket, k.is_public, k.is_own_original from copperplate.kinds as k order by k.name',
    $$ values
    ('image', 'generated-images', true, false), ('memoji', 'memoji-images', true, true),
    ('processed', 'processed-images', false, true) $$,
    'three kinds'
);
insert into copperplate.kinds (
    name, bucket, is_public, is_own_original, max_bytes, retention, min_uses, archive_above
)
values ('cutout', 'cutouts', false, true, 1000000, '10 days', 3, 50);

create function pg_temp.key(p_number integer) returns text language sql as $$ select lpad(p_number::text, 64, '0') $$;
create function pg_temp.recipe(p_number integer)
returns jsonb
language sql
as $$ select jsonb_build_object('v', 1, 'kind', 'cutout', 'model', 'm', 'size', '64x64', 'source', p_number::text) $$;
create function pg_temp.make(p_number integer)
returns text
language plpgsql
as $$
declare
    v_key text := public.cache_key(pg_temp.recipe(p_number));
    v_upload jsonb := jsonb_build_object(
        'path', '2026/01/' || v_key || '.png', 'digest', v_key, 'size_bytes', 100, 'format', 'png', 'width', 64,
        'height', 64
    );
    v copperplate.acquire_result;
begin
    v := public.acquire_generation(
        pg_temp.recipe(p_number), v_key, pg_temp.key(p_number), gen_random_uuid(), '20 s'
    );
    perform public.begin_submit(v_key, v.fence, 1, 'painter');
    perform public.intend_upload(v_key, v.fence, v_upload, '{}');
    perform public.complete_generation(v_key, v.fence, pg_temp.key(p_number), v_upload, null);
    return v_key;
end;
$$;

set local role service_role;
select throws_ok(
    $$ select public.acquire_generation(
           '{"v": 1, "kind": "x", "model": "m", "size": "1x1"}',
           public.cache_key('{"v": 1, "kind": "x", "model": "m", "size": "1x1"}'), 'r', gen_random_uuid(), '1 s'
       ) $$,
    'ZC003', null, 'what is no kind is not generated'
);
select throws_ok($$ select public.cleanup_entries('x') $$, 'ZC003', null, 'nor cleaned up');
select throws_ok($$ select public.count_old_entries('x') $$, 'ZC003', null, 'nor counted');
select is_empty($$ select from public.get_kind_stats('x') $$, 'and has no statistics');

select lives_ok('select pg_temp.make(n) from generate_series(1, 4) as n', 'pictures of the new kind are made');
select results_eq(
    'select e.kind, e.bucket, e.is_original from copperplate.shown_entries as e',
    $$ values ('cutout', 'cutouts', true), ('cutout', 'cutouts', true), ('cutout', 'cutouts', true),
       ('cutout', 'cutouts', true) $$,
    'they are shown as their originals, from their bucket'
);
select is(
    (public.peek_generation(pg_temp.key(9), pg_temp.key(1))).kind, 'cutout', 'a hit says of which kind it is'
);
select results_eq(
    $$ select s.pictures, s.size_bytes, s.stored_bytes from public.get_kind_stats('cutout') as s $$,
    'values (4::bigint, 400::bigint, 400::bigint)', 'they are counted'
);
select is_empty('select from public.image_cache union all select from public.memoji_cache', 'and are no other kind''s');

update copperplate.cache_entries set created_at = created_at - interval '11 days'
where key <> pg_temp.key(1);
update copperplate.cache_entries set access_count = 3
where key = pg_temp.key(2);
update copperplate.cache_entries set access_count = 51
where key = pg_temp.key(3);
select is(
    public.count_old_entries('cutout'), '{"pictures": 1, "generations": 1, "bytes": 100, "archived": 1}',
    'young, used three times, used often, old: one goes and one is archived'
);
select is(
    public.cleanup_entries('cutout', p_after => ''),
    '{"pictures": 1, "generations": 1, "bytes": 100, "archived": 1, "reached": null}', 'as was counted'
);
select set_eq(
    'select e.key from copperplate.cache_entries as e',
    array[pg_temp.key(1), pg_temp.key(2), pg_temp.key(3)], 'the others stay'
);
select results_eq(
    'select d.bucket from copperplate.discarded_objects as d', array['cutouts'], 'its object goes from its bucket'
);
update copperplate.cache_entries set access_count = 51;
select results_eq(
    $$ select c.counts -> 'archived', c.counts ->> 'reached' is null
       from generate_series(1, 3) as n, lateral public.cleanup_entries('cutout', 1 + 0 * n, '') as c (counts) $$,
    $$ values ('1'::jsonb, false), ('1', false), ('0', true) $$,
    'a run is not at its end while there is more to archive'
);
reset role;

select * from finish();
rollback;
