-- A pinned picture: no cleanup removes it, of any kind and in any state; its owner still may.
begin;
select plan(24);

create function pg_temp.make(p_digit text, p_kind text)
returns void
language sql
as $$
    insert into public.generation_status (
        prompt_hash, kind, recipe, prompt, dimensions, model, format, status, window_started_at, fence, created_at,
        updated_at, completed_at
    )
    values (
        repeat(p_digit, 64), p_kind, '{}', 'a fox', '64x64', 'm', 'png', 'completed', now() - interval '1 year',
        1, now() - interval '1 year', now(), now()
    );
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
        created_at, last_accessed_at
    )
    select
        md5(p_digit || f.format) || md5(f.format || p_digit), repeat(p_digit, 64), p_kind, f.format = 'png',
        (f.format = 'png') = k.is_own_original, k.bucket,
        '2026/01/' || md5(p_digit || f.format) || md5(f.format) || '.' || f.format, repeat(p_digit, 64), 1000, f.format,
        64, 64, now() - interval '1 year', now() - interval '1 year'
    from copperplate.kinds as k
    cross join (values ('png'), ('jpg')) as f (format)
    where k.name = p_kind and (f.format = 'png' or not k.is_own_original)
$$;
select pg_temp.make('a', 'image');
select pg_temp.make('b', 'image');
select pg_temp.make('c', 'memoji');
select pg_temp.make('d', 'memoji');

set local role service_role;
select is(public.pin_picture(repeat('0', 64)), null, 'a key that is not known is not pinned');
select is(public.unpin_picture(repeat('0', 64)), null, 'nor unpinned');
select is(
    public.pin_picture(md5('ajpg') || md5('jpga')),
    jsonb_build_object('generation_key', repeat('a', 64), 'status', 'completed', 'is_new', true),
    'a picture is pinned by its own key, and with it its generation'
);
select is(public.pin_picture(repeat('a', 64)) -> 'is_new', 'false'::jsonb, 'pinned again it is not new');
select is(public.pin_picture(repeat('c', 64)) -> 'is_new', 'true'::jsonb, 'a memoji is pinned by its key');

select is(public.count_old_cache_entries() -> 'images', '1'::jsonb, 'of two old images one is counted');
select is(public.count_old_memoji() -> 'memoji', '1'::jsonb, 'of two old memoji one');
select is(public.cleanup_old_cache_entries('1 day') -> 'images', '1'::jsonb, 'one is removed');
select is(public.cleanup_old_memoji('1 day', 1000) -> 'memoji', '1'::jsonb, 'one is removed');
select is(public.cleanup_entries('image', 10, '', '1 day') -> 'pictures', '0'::jsonb, 'nothing page by page');
select set_eq(
    'select g.prompt_hash from public.generation_status as g',
    array[repeat('a', 64), repeat('c', 64)],
    'what is pinned stays'
);
select is((select count(*) from public.image_cache), 1::bigint, 'with its picture');

-- Its object is lost: the pin outlasts the row's failure.
select ok(public.report_missing(md5('cpng') || md5('pngc'), '2026/01/' || md5('cpng') || md5('png') || '.png'), 'lost');
select is(
    public.cleanup_old_generation_status() -> 'generations', '0'::jsonb, 'a failure of a pinned generation is kept'
);
select is(public.unpin_picture(repeat('c', 64)) -> 'is_new', 'true'::jsonb, 'until it is unpinned');
select is(public.cleanup_old_generation_status() -> 'generations', '1'::jsonb, 'then it goes');

-- Purge by a filter, by the key, with pinned.
select is(
    public.purge_entries(p_model => 'm') - array['has_more', 'children', 'pinned_children'],
    '{"dry_run": true, "generations": 0, "pinned": 1, "images": 0, "bytes": 0}'::jsonb,
    'a filter leaves what is pinned, and says so'
);
select is(
    public.purge_entries(p_model => 'm', p_dry_run => false) -> 'generations', '0'::jsonb, 'and removes nothing'
);
select is(
    public.purge_entries(p_model => 'm', p_with_pinned => true) -> 'generations', '1'::jsonb,
    'unless pinned ones are meant'
);
select is(
    public.purge_entries(p_generation_key => repeat('a', 64), p_dry_run => false) -> 'generations', '1'::jsonb,
    'or the key names it'
);

-- The owner's own DELETE, and a takedown.
reset role;
select pg_temp.make('e', 'image');
select pg_temp.make('f', 'image');
set local role service_role;
select isnt(public.pin_picture(repeat('e', 64)), null, 'one is pinned');
delete from public.image_cache as i
where i.generation_hash = repeat('e', 64);
select is_empty(
    $$ select from public.generation_status as g where g.prompt_hash = repeat('e', 64) $$, 'a DELETE removes it'
);
select isnt(public.pin_picture(repeat('f', 64)), null, 'another is pinned');
select is(public.take_down(repeat('f', 64)) -> 'generations', '1'::jsonb, 'a takedown removes it');

select * from finish();
rollback;
