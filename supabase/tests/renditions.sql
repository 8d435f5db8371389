-- The forms of one picture: which is shown, what the views say, what a person may delete, and what an audit finds.
begin;
select plan(26);

create function pg_temp.key(p_name text) returns text language sql as $$ select encode(sha256(p_name::bytea), 'hex') $$;
create function pg_temp.upload(p_name text, p_format text, p_more jsonb default '{}')
returns jsonb
language sql
as $$
    select jsonb_build_object(
        'key', pg_temp.key(p_name), 'path', '2026/01/' || pg_temp.key(p_name) || '.' || p_format,
        'digest', pg_temp.key(p_name), 'size_bytes', 1000, 'format', p_format, 'width', 64, 'height', 64,
        'is_sized', false, 'encoder_version', 2
    ) || p_more
$$;
create function pg_temp.sized(p_name text, p_side integer)
returns jsonb
language sql
as $$
    select pg_temp.upload(
        p_name, 'jpg',
        jsonb_build_object('width', p_side, 'height', p_side, 'is_sized', true, 'quality', 85, 'size_bytes', p_side)
    )
$$;
create function pg_temp.fox()
returns jsonb
language sql
as $$ select '{"v": 1, "kind": "image", "prompt": "a fox", "width": 64, "height": 64, "model": "m"}'::jsonb $$;
create function pg_temp.keep(p_upload jsonb)
returns copperplate.acquire_result
language plpgsql
as $$
declare
    v_key text := public.cache_key(pg_temp.fox());
    v_original text := '2026/01/' || pg_temp.key('original') || '.png';
begin
    perform public.intend_rendition(
        v_key, v_original, p_upload ->> 'path', p_upload ->> 'key', (p_upload ->> 'is_sized')::boolean
    );
    return public.record_rendition(v_key, v_original, p_upload);
end;
$$;
create function pg_temp.use(p_name text, p_count bigint)
returns void
language sql
as $$
    select public.record_usage(
        jsonb_build_array(jsonb_build_object(
            'generation_key', public.cache_key(pg_temp.fox()), 'rendition_key', pg_temp.key(p_name), 'kind', 'image',
            'provider', 'painter', 'model', 'm', 'outcome', 'hit', 'tier', 'storage', 'count', p_count, 'size_bytes', 1,
            'latency_buckets', array_fill(0, array[13])
        )),
        gen_random_uuid()
    )
$$;

set local role service_role;
do $$
declare
    v_key text := public.cache_key(pg_temp.fox());
    v_upload jsonb := pg_temp.upload(
        'original', 'png', '{"thumbhash": "AQIDBAU=", "color": "#ff8000", "has_c2pa": true}'
    );
    v_jpg jsonb := pg_temp.upload('jpg', 'jpg', '{"quality": 85}');
    v_webp jsonb := pg_temp.upload('webp', 'webp', '{"quality": 85, "size_bytes": 600}');
    v copperplate.acquire_result;
begin
    v := public.acquire_generation(pg_temp.fox(), v_key, pg_temp.key('jpg'), gen_random_uuid(), '20 s');
    perform public.begin_submit(v_key, v.fence, 1, 'painter');
    perform set_config('copperplate.clock_offset', '3 s', true);
    perform public.intend_upload(
        v_key, v.fence, v_upload, '{}', array[v_jpg ->> 'path', v_webp ->> 'path']
    );
    perform public.complete_generation(
        v_key, v.fence, pg_temp.key('original'), v_upload, null, jsonb_build_array(v_jpg, v_webp)
    );
end
$$;
select results_eq(
    'select i.format, i.access_count, i.file_size from public.image_cache as i order by i.format',
    $$ values ('jpg', 0::bigint, 1000::bigint), ('webp', 0, 600) $$,
    'the form that was asked for and the one made ahead are shown'
);
select results_eq(
    $$ select i.original_file_size, i.webp_file_size, i.has_c2pa, i.thumbhash, i.color, i.payer,
           i.generation_ms between 3000 and 10000
       from public.image_cache as i
       where i.format = 'jpg' $$,
    $$ values (1000::bigint, 600::bigint, true, 'AQIDBAU=', '#ff8000', null::text, true) $$,
    'with what is known of the original'
);
select is(
    (pg_temp.keep(pg_temp.sized('small', 16))).path, pg_temp.sized('small', 16) ->> 'path', 'a sized form is kept'
);
select is((pg_temp.keep(pg_temp.sized('smaller', 8))).outcome, 'hit', 'and another');
select results_eq(
    $$ select r.format, r.width, r.quality, r.file_size, r.encoder_version, r.prompt, r.dimensions
       from public.image_renditions as r order by r.width $$,
    $$ values ('jpg', 8, 85, 8::bigint, 2, 'a fox', '64x64'), ('jpg', 16, 85, 16, 2, 'a fox', '64x64') $$,
    'they stand in image_renditions'
);
select is((select count(*) from public.image_cache), 2::bigint, 'and are no rows of image_cache');
select results_eq(
    'select t.total_cached_images, t.total_size_bytes, t.total_stored_bytes from public.get_cache_stats() as t',
    'values (2::bigint, 1600::bigint, 2624::bigint)',
    'nor pictures'
);

select pg_temp.use('jpg', 2);
select set_config('copperplate.clock_offset', '1 hour', true);
select pg_temp.use('small', 5);
select results_eq(
    $$ select i.format, i.access_count, i.last_accessed_at > clock_timestamp() + interval '50 minutes'
       from public.image_cache as i order by i.format $$,
    $$ values ('jpg', 7::bigint, true), ('webp', 0, false) $$,
    'their uses are added to their row, and so is when they were used last'
);
select is(
    (
        select r.access_count
        from public.image_renditions as r
        where r.width = 16
    ), 5::bigint, 'and stay their own as well'
);

-- A person deletes one of them.
delete from public.image_renditions
where width = 16;
select results_eq(
    'select r.width from public.image_renditions as r', 'values (8)', 'DELETE through image_renditions removes that one'
);
select is(
    (select count(*) from copperplate.cache_entries), 4::bigint, 'and leaves the others and the original'
);
select is(
    (
        select count(*) from copperplate.discarded_objects as d
        where d.path = pg_temp.sized('small', 16) ->> 'path'
    ),
    1::bigint, 'its object is discarded'
);
select is(
    (
        select i.access_count
        from public.image_cache as i
        where i.format = 'jpg'
    ), 2::bigint, 'its uses go with it'
);
select is((pg_temp.keep(pg_temp.sized('anew', 16))).outcome, 'hit', 'it may be made again');

-- The order in which forms come makes no difference in the end.
select is((pg_temp.keep(pg_temp.upload('avif 60', 'avif', '{"quality": 60}'))).outcome, 'hit', 'an AVIF of quality 60');
select is(
    (
        select i.prompt_hash
        from public.image_cache as i
        where i.format = 'avif'
    ), pg_temp.key('avif 60'),
    'is shown'
);
select is((pg_temp.keep(pg_temp.upload('avif', 'avif', '{"quality": 85}'))).outcome, 'hit', 'the standard one comes');
select is(
    (
        select i.prompt_hash
        from public.image_cache as i
        where i.format = 'avif'
    ), pg_temp.key('avif'),
    'and is shown in its place'
);
delete from copperplate.cache_entries
where key = pg_temp.key('avif');
select is(
    (
        select i.prompt_hash
        from public.image_cache as i
        where i.format = 'avif'
    ), pg_temp.key('avif 60'),
    'where it goes alone, the other is shown again'
);

-- Sums, and hands that change tables.
select is(public.audit_entries() -> 'faults', '[]', 'an audit finds nothing');
update copperplate.cache_entries set is_shown = false
where key = pg_temp.key('jpg');
select results_eq(
    'select f.fault, f.found::bigint, f.expected::bigint from copperplate.entry_faults as f order by f.fault',
    $$ values ('shown renditions in jpg', 0::bigint, 1::bigint), ('the standard form is shown in jpg', 0, 1),
       ('total of pictures', 3, 2), ('total of their bytes', 2600, 1600) $$,
    'but a picture that nobody is shown'
);
update copperplate.cache_entries set is_shown = true
where key = pg_temp.key('jpg');
select throws_ok(
    $$ update copperplate.cache_entries set is_shown = true where key = pg_temp.key('anew') $$, '23505', null,
    'two of a format are never shown'
);
delete from public.image_cache
where format = 'webp';
select is_empty('select from copperplate.cache_entries', 'DELETE through image_cache removes all forms');
select is(public.audit_entries() -> 'faults', '[]', 'and the sums are right');
reset role;

set local role anon;
select throws_ok('select * from public.image_renditions', '42501', null, 'strangers do not read other forms');
reset role;
set local role authenticated;
select throws_ok('delete from public.image_renditions', '42501', null, 'and users delete none');
reset role;

select * from finish();
rollback;
