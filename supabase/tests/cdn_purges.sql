-- The outbox of CDN purges: what is written for each way an entry goes, how it is taken and settled, and who may.
begin;
select plan(18);

create function pg_temp.enter(p_digit text)
returns void
language sql
as $$
    insert into public.generation_status (
        prompt_hash, kind, recipe, prompt, dimensions, model, format, status, window_started_at, fence, created_at,
        updated_at, completed_at
    )
    values (
        repeat(p_digit, 64), 'image', '{}', 'a fox', '64x64', 'm', 'png', 'completed', now(), 1, now(), now(), now()
    );
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height, created_at,
        last_accessed_at
    )
    values (
        repeat(p_digit, 64), repeat(p_digit, 64), 'image', true, 'generated-images',
        '2026/01/' || repeat(p_digit, 64) || '.png', repeat(p_digit, 64), 1000, 'png', 64, 64, now(), now()
    );
$$;

select pg_temp.enter(d.digit) from unnest(array['a', 'b', 'c', 'd']) as d (digit);

create function pg_temp.waiting()
returns text
language sql
as $$
    select string_agg(
        p.scope || ' ' || coalesce(left(p.generation_key, 1), substr(p.path, 9, 1), 'all'), ', ' order by p.id
    )
    from copperplate.cdn_purges as p
$$;

set local role service_role;

select is(public.read_feed() -> 'due_cdn_scopes', '[]', 'nothing waits');
delete from public.generation_status
where prompt_hash = repeat('a', 64);
select is(pg_temp.waiting(), 'tag a, object a', 'what is deleted is declared wrong, by key and by object');
select is(public.read_feed() -> 'due_cdn_scopes', '["object", "tag"]', 'and the feed tells of it');
select copperplate.set_aging(true);
delete from public.generation_status
where prompt_hash = repeat('b', 64);
select copperplate.set_aging(false);
select is(pg_temp.waiting(), 'tag a, object a', 'what is old is not');
select is(public.take_down(repeat('c', 64)) ->> 'generations', '1', 'a picture is taken down');
select is(pg_temp.waiting(), 'tag a, object a, tag c, object c', 'and declared wrong once');

select is(
    public.take_cdn_purges(array['tag'], repeat('1', 32)::uuid, 32, '60 s', '1 h') -> 'keys',
    jsonb_build_array(repeat('a', 64), repeat('c', 64)), 'a worker takes what its CDN knows'
);
select is(
    public.take_cdn_purges(array['tag'], repeat('2', 32)::uuid, 32, '60 s', '1 h') -> 'keys', '[]', 'another finds none'
);
select is(
    public.take_cdn_purges(array['object'], repeat('3', 32)::uuid, 1, '60 s', '1 h') -> 'objects',
    '[["generated-images", null]]', 'more than it may take are their bucket'
);
select is(public.settle_cdn_purges(repeat('2', 32)::uuid, 'tag', true), 0, 'who holds nothing settles nothing');
select is(public.settle_cdn_purges(repeat('1', 32)::uuid, 'tag', true), 2, 'what was told at once is told once more');
select is(public.settle_cdn_purges(repeat('1', 32)::uuid, 'tag', true), 0, 'and settled once');
select set_config('copperplate.clock_offset', '10 s', true);
select is(
    jsonb_array_length(public.take_cdn_purges(array['tag'], repeat('4', 32)::uuid, 32, '60 s', '1 h') -> 'keys'), 2,
    'ten seconds later'
);
select is(public.settle_cdn_purges(repeat('4', 32)::uuid, 'tag', true), 0, 'then it is over');
select is(pg_temp.waiting(), 'object all', 'what its CDN was not told of waits');

select is(
    public.purge_copies(array['memory'], p_key_prefix => 'd') ->> 'entries', '1', 'copies are counted by a dry run'
);
reset role;
set local role anon;
select throws_ok(
    'select public.take_cdn_purges(array[''tag''], gen_random_uuid(), 1, ''1 s'', ''1 h'')', '42501', null,
    'a stranger takes nothing'
);
select throws_ok('select * from copperplate.cdn_purges', '42501', null, 'and sees nothing');
reset role;
select * from finish();
rollback;
