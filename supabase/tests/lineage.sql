-- Lineage goes through the bytes: seen both ways, taken down with its root, purged with its children.
begin;
select plan(39);

create function pg_temp.key(p_digit text) returns text language sql as $$ select repeat(p_digit, 64) $$;
-- A stored generation; what it was made from is named by a digest.
create function pg_temp.store(p_key text, p_digest text, p_source text, p_age interval default '0')
returns void
language sql
as $$
    insert into public.generation_status (
        prompt_hash, kind, recipe, dimensions, model, format, status, window_started_at, fence, created_at, updated_at,
        completed_at
    )
    values (
        pg_temp.key(p_key), case when p_source is null then 'image' else 'processed' end,
        case
            when p_source is null then '{}'
            else jsonb_build_object('kind', 'processed', 'operation', 'upscale', 'source', pg_temp.key(p_source))
        end,
        '', 'm', 'png', 'completed', now(), 1, now() - p_age, now(), now()
    );
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
        created_at, last_accessed_at
    )
    select
        encode(sha256(convert_to(g.prompt_hash, 'UTF8')), 'hex'), g.prompt_hash, g.kind, true, true,
        k.bucket, '2026/01/' || g.prompt_hash || '.png', pg_temp.key(p_digest), 1000, 'png', 64, 64, now(), now()
    from public.generation_status as g
    inner join copperplate.kinds as k on g.kind = k.name
    where g.prompt_hash = pg_temp.key(p_key);
$$;
create function pg_temp.note(p_digest text, p_parent text default null, p_crop integer[] default null)
returns jsonb
language sql
as $$ select public.note_source(pg_temp.key(p_digest), 'png', 64, 64, 1000, 'key:a', pg_temp.key(p_parent), p_crop) $$;
create function pg_temp.recipe(p_source text)
returns jsonb
language sql
as $$
    select jsonb_build_object(
        'kind', 'processed', 'model', 'm', 'operation', 'upscale', 'parameters', '[]'::jsonb, 'settings', '[]'::jsonb,
        'source', pg_temp.key(p_source), 'v', 1
    )
$$;
create function pg_temp.acquire(p_source text)
returns copperplate.acquire_result
language sql
as $$
    select a.* from public.acquire_generation(
        pg_temp.recipe(p_source), public.cache_key(pg_temp.recipe(p_source)), pg_temp.key('9'),
        '00000000-0000-0000-0000-000000000001', '20 s'
    ) as a
$$;

-- 1, generated with the bytes a; from a rectangle of it, bytes b, came 2, with the bytes c; from these 3.
select pg_temp.store('1', 'a', null, '3 h');
select pg_temp.note('b', '1', array[0, 0, 64, 64]);
select pg_temp.store('2', 'c', 'b', '2 h');
select pg_temp.note('c', '2');
select pg_temp.store('3', 'd', 'c', '1 h');
-- From the bytes a, brought as a file, came 4; and 5 of bytes that nobody knows.
select pg_temp.note('a');
select pg_temp.store('4', 'e', 'a');
select pg_temp.note('f');
select pg_temp.store('5', '0', 'f');

set local role service_role;

-- Seen both ways.
select results_eq(
    $$ select left(l.key, 1), l.depth, left(l.parent_key, 1), l.relation, l.crop, l.bytes
       from public.lineage_of(repeat('2', 64)) as l $$,
    $$ values ('1', -1, null, null, null, 1000::bigint), ('2', 0, '1', 'cropped', array[0, 0, 64, 64], 1000),
              ('3', 1, '2', 'same', null, 1000) $$,
    'a picture in the middle is told with its parent and its child, the farthest ancestor first'
);
select results_eq(
    $$ select left(l.key, 1), l.depth from public.lineage_of(repeat('1', 64)) as l $$,
    $$ values ('1', 0), ('2', 1), ('4', 1), ('3', 2) $$,
    'and its root with all, bytes that came as a file included'
);
select results_eq(
    $$ select left(l.key, 1) from public.lineage_of(repeat('3', 64), p_limit => 2) as l $$,
    $$ values ('1'), ('2') $$,
    'of a long lineage as many rows as asked'
);
select is_empty($$ select * from public.lineage_of(repeat('8', 64)) $$, 'an unknown key has none');

-- A generation in the middle that grew old.
-- The linter's grammar has no savepoints.
savepoint whole; -- noqa: PRS
delete from public.generation_status as g where g.prompt_hash = repeat('2', 64);
select results_eq(
    $$ select left(l.key, 1), l.depth from public.lineage_of(repeat('3', 64)) as l $$,
    $$ values ('1', -2), ('3', 0) $$,
    'a lineage goes on beyond a generation that grew old'
);
select is((public.take_down(repeat('1', 64)) -> 'descendants')::integer, 2, 'and so does a takedown');
select is_empty($$ select from public.generation_status where prompt_hash = repeat('3', 64) $$, 'the last one is gone');
rollback to savepoint whole;

-- A circle that somebody declared.
update copperplate.source_pictures as s
set parent_key = repeat('3', 64), parent_source = repeat('c', 64), relation = 'same', crop = null
where s.digest = repeat('b', 64);
select results_eq(
    $$ select left(l.key, 1) from public.lineage_of(repeat('2', 64)) as l order by 1 $$, $$ values ('2'), ('3') $$,
    'a circle ends'
);
select ok(not copperplate.source_is_taken_down(repeat('b', 64)), 'for who asks upwards, too');
select is((public.take_down(repeat('2', 64)) ->> 'descendants')::integer, 1, 'and for a takedown');
rollback to savepoint whole;

-- Taken down: the root, with all that follows.
select is(
    public.take_down(repeat('1', 64), 'a letter') - array['objects', 'keys'],
    jsonb_build_object(
        'found', 'generation', 'generation_key', repeat('1', 64), 'is_new', true, 'generations', 4, 'descendants', 3,
        'images', 4, 'bytes', 4000, 'is_whole', true
    ),
    'a picture is taken down with its descendants'
);
select results_eq(
    'select left(g.prompt_hash, 1) from public.generation_status as g', $$ values ('5') $$,
    'of which nothing is left, and another is as it was'
);
select is((select count(*) from copperplate.discarded_objects), 4::bigint, 'their objects are to be removed');
select results_eq(
    $$ select left(t.generation_key, 1), t.reason from copperplate.takedowns as t
       where t.follows_key = repeat('1', 64) and t.asked_key = repeat('1', 64) order by 1 $$,
    $$ values ('2', 'a letter'), ('3', 'a letter'), ('4', 'a letter'), ('a', 'a letter'), ('b', 'a letter'),
              ('c', 'a letter'), ('d', 'a letter'), ('e', 'a letter') $$,
    'each has its tombstone, and so have the bytes'
);
select ok(copperplate.source_is_taken_down(repeat('c', 64)), 'bytes that came of it are taken down');
select ok(not copperplate.source_is_taken_down(repeat('f', 64)), 'others are not');
select is((pg_temp.acquire('c')).outcome, 'gone', 'nothing is made of them any more, by any operation');
select is((pg_temp.acquire('a')).outcome, 'gone', 'nor of its own bytes');
select is(
    (public.peek_generation(repeat('3', 64), repeat('4', 64))).outcome, 'gone', 'a descendant is not looked up any more'
);
select is(
    (public.find_source(repeat('c', 64)) -> 'is_taken_down')::text, 'true', 'who brings the bytes again is told'
);
select pg_temp.note('7', '3', array[0, 0, 64, 64]);
select is((pg_temp.acquire('7')).outcome, 'gone', 'a crop that is declared later is taken down as well');

-- Again, and lifted.
select is(
    jsonb_array_length(public.take_down(repeat('1', 64)) -> 'objects'), 4,
    'taken down again it names what the store may still have, of descendants, too'
);
select ok(not public.lift_takedown(repeat('2', 64)), 'what follows another is not lifted alone');
select is((public.take_down(repeat('2', 64)) ->> 'is_new')::boolean, true, 'it may be taken down for itself');
select ok(public.lift_takedown(repeat('1', 64)), 'the root is lifted');
select results_eq(
    $$ select left(t.generation_key, 1) from copperplate.takedowns as t where t.follows_key is null $$,
    $$ values ('2') $$, 'and with it what it took along, not what was taken down for itself'
);
select is((pg_temp.acquire('a')).outcome, 'lead', 'of its bytes things may be made again');
select ok(public.lift_takedown(repeat('2', 64)), 'the other is lifted');
select is((pg_temp.acquire('c')).outcome, 'lead', 'and of its bytes, too');
rollback to savepoint whole;

-- A source picture itself.
select is(public.take_down(repeat('b', 64)) ->> 'found', 'source', 'bytes are taken down by their digest');
select results_eq(
    'select left(g.prompt_hash, 1) from public.generation_status as g order by 1', $$ values ('1'), ('4'), ('5') $$,
    'with what was made of them, and not what they came from'
);
select is((pg_temp.acquire('b')).outcome, 'gone', 'nothing is made of them');
select ok(public.lift_takedown(repeat('b', 64)), 'until that is lifted');
rollback to savepoint whole;

-- Elected before the takedown, and its source noted as the leader sends it.
create temporary table held on commit drop as
select a.* from pg_temp.acquire('8') as a;
select is(
    (public.begin_submit(public.cache_key(pg_temp.recipe('8')), (select h.fence from held as h), 1, 'painter')).outcome,
    'lead', 'a leader submits what nobody knows yet'
);
select pg_temp.note('8', '3', array[0, 0, 64, 64]);
-- As a takedown would leave it that looked before the parent was noted.
insert into copperplate.takedowns (generation_key, asked_key, created_at)
values (repeat('1', 64), repeat('1', 64), now());
select is(
    (public.complete_generation(
        public.cache_key(pg_temp.recipe('8')), (select h.fence from held as h), repeat('6', 64),
        jsonb_build_object(
            'path', '2026/01/' || repeat('6', 64) || '.png', 'digest', repeat('6', 64), 'size_bytes', 1000,
            'format', 'png', 'width', 64, 'height', 64
        ),
        null
    )).outcome,
    'stale', 'what it made is refused, as its parent''s root is taken down'
);
select is_empty(
    $$ select from public.generation_status as g where g.recipe ->> 'source' = repeat('8', 64) $$, 'its row goes'
);
rollback to savepoint whole;

-- Purged.
update public.generation_status as g set pinned_at = now() where g.prompt_hash = repeat('3', 64);
select is(
    public.purge_entries(p_generation_key => repeat('1', 64)),
    jsonb_build_object(
        'dry_run', true, 'generations', 1, 'images', 1, 'bytes', 1000, 'pinned', 0, 'has_more', false, 'children', 2,
        'pinned_children', 0
    ),
    'a dry run says how many children stay'
);
select is(
    (
        select string_agg(left(n ->> 'key', 1) || coalesce(left(n ->> 'parent_key', 1), '-'), ' ')
        from jsonb_array_elements(
            public.purge_entries(p_generation_key => repeat('1', 64), p_with_children => true) -> 'tree'
        ) as n
    ),
    '1- 21 41', 'and shows them where they are meant'
);
select is(
    public.purge_entries(p_generation_key => repeat('1', 64), p_dry_run => false, p_with_children => true)
    - array['objects', 'keys'],
    jsonb_build_object(
        'dry_run', false, 'generations', 3, 'images', 3, 'bytes', 3000, 'pinned', 0, 'has_more', false, 'children', 2,
        'pinned_children', 1
    ),
    'they go with it, and what is pinned stays'
);

select * from finish();
rollback;
