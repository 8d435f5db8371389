-- A person deletes a picture in the SQL editor: everything of it goes, and its objects are to be removed.
begin;
select plan(6);

insert into public.generation_status (
    prompt_hash, kind, recipe, prompt, dimensions, model, format, status, window_started_at, fence, created_at,
    updated_at, completed_at
)
values (
    repeat('a', 64), 'image', '{}', 'a fox', '64x64', 'm', 'png', 'completed', now(), 1, now(), now(), now()
);
create function pg_temp.enter(p_digit text, p_is_original boolean, p_format text)
returns void
language sql
as $$
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
        created_at, last_accessed_at
    )
    values (
        repeat(p_digit, 64), repeat('a', 64), 'image', p_is_original, not p_is_original, 'generated-images',
        '2026/01/' || repeat(p_digit, 64) || '.' || p_format, repeat(p_digit, 64), 1000, p_format, 64, 64, now(), now()
    )
$$;

select pg_temp.enter('1', true, 'png');
select pg_temp.enter('2', false, 'jpg');
select pg_temp.enter('3', false, 'webp');

select is((select count(*) from public.image_cache), 2::bigint, 'the view shows pictures and not their original');
select throws_ok('update public.image_cache set access_count = 1', '55000', null, 'the view takes no updates');
select throws_ok('insert into public.image_cache (prompt) values (''x'')', '55000', null, 'nor inserts');

set local role service_role;
delete from public.image_cache
where prompt_hash = repeat('2', 64);
reset role;

select is_empty('select * from public.generation_status', 'the generation is gone');
select is_empty('select * from copperplate.cache_entries', 'with every format of it');
select set_eq(
    'select path from copperplate.discarded_objects',
    array[
        '2026/01/' || repeat('1', 64) || '.png',
        '2026/01/' || repeat('2', 64) || '.jpg',
        '2026/01/' || repeat('3', 64) || '.webp'
    ],
    'and every object is to be removed from the store'
);

select * from finish();
rollback;
