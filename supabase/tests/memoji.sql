-- Memoji: one row per picture, old ones go, those used often are kept for good, and what it cost is known or unknown.
begin;
select plan(25);

create function pg_temp.key(p_digit text) returns text language sql as $$ select repeat(p_digit, 64) $$;
create function pg_temp.make(p_digit text, p_kind text, p_uses bigint, p_age interval)
returns void
language sql
as $$
    insert into public.generation_status (
        prompt_hash, kind, recipe, dimensions, model, format, status, window_started_at, fence, created_at, updated_at,
        completed_at, generated_url
    )
    values (
        repeat(p_digit, 64), p_kind, '{"hair": "bob"}', '64x64', 'm', 'png', 'completed', now(), 1, now(), now(), now(),
        'https://a/' || p_digit
    );
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
        created_at, last_accessed_at, access_count
    )
    values (
        repeat(p_digit, 64), repeat(p_digit, 64), p_kind, true, p_kind = 'memoji',
        (select k.bucket from copperplate.kinds as k where k.name = p_kind),
        '2026/01/' || repeat(p_digit, 64) || '.png', repeat(p_digit, 64), 1000, 'png', 64, 64, now() - p_age,
        now() - p_age, p_uses
    );
$$;
create function pg_temp.cost(p_digit text)
returns numeric
language sql
as $$ select m.generation_cost from public.memoji_cache as m where m.prompt_hash = repeat(p_digit, 64) $$;
create function pg_temp.submit(p_digit text, p_estimate bigint, p_cost bigint)
returns void
language sql
as $$
    insert into copperplate.submits (
        generation_key, kind, provider, model, sent_at, estimate_micro_usd, cost_micro_usd
    )
    values (repeat(p_digit, 64), 'memoji', 'openai', 'm', now(), p_estimate, p_cost)
$$;

select pg_temp.make('1', 'memoji', 1, '91 days');
select pg_temp.make('2', 'memoji', 2, '91 days');
select pg_temp.make('3', 'memoji', 1, '89 days');
select pg_temp.make('4', 'memoji', 101, '91 days');
select pg_temp.make('5', 'memoji', 0, '400 days');
select pg_temp.make('6', 'image', 0, '400 days');
select pg_temp.submit('1', 7000, 5000);
select pg_temp.submit('1', 7000, null);
select pg_temp.submit('2', 7000, 0);
select pg_temp.submit('3', null, null);

set local role service_role;

select is((select count(*) from public.memoji_cache), 5::bigint, 'one row per memoji, and no image');
select results_eq(
    $$ select m.configuration ->> 'hair', m.model, m.dimensions, m.image_url, m.usage_count, m.generation_cost
       from public.memoji_cache as m where m.prompt_hash = pg_temp.key('1') $$,
    $$ values ('bob', 'm', '64x64', 'https://a/1', 1::bigint, 0.012) $$,
    'with what was asked, where it is, how often it was used, and what it cost in dollars'
);
select is(pg_temp.cost('2'), 0.0, 'what was not billed cost nothing');
select is(pg_temp.cost('3'), null, 'what nobody knows the price of is unknown');
select is(copperplate.spent_micro_usd(pg_temp.key('1')), 12000::bigint, 'a lost submit counts with its estimate');
select lives_ok($$ select copperplate.note_cost(pg_temp.key('1'), 6000) $$, 'its bill came');
select is(copperplate.spent_micro_usd(pg_temp.key('1')), 11000::bigint, 'and counts instead');
select lives_ok($$ select copperplate.note_cost(pg_temp.key('1'), null) $$, 'a report without a price');
select is(copperplate.spent_micro_usd(pg_temp.key('1')), 11000::bigint, 'changes nothing');
select results_eq(
    'select s.total_memoji, s.total_usage, s.total_size_bytes, s.spent_micro_usd from public.get_memoji_stats() as s',
    $$ values (5::bigint, 0::bigint, 5000::bigint, 11000::bigint) $$,
    'the statistics'
);

select is(
    public.count_old_memoji(), '{"memoji": 2, "bytes": 2000, "archived": 1}', 'what a cleanup would do is told first'
);
select is((select count(*) from public.memoji_cache), 5::bigint, 'and not done');
select is(
    public.cleanup_old_memoji(p_limit => 1), '{"memoji": 1, "bytes": 1000, "archived": 1}', 'so many at a time'
);
select is_empty(
    $$ select from public.memoji_cache as m where m.prompt_hash = pg_temp.key('5') $$, 'the oldest goes first'
);
select is(public.cleanup_old_memoji(), '{"memoji": 1, "bytes": 1000, "archived": 0}', 'then the rest');
select is(public.cleanup_old_memoji(), '{"memoji": 0, "bytes": 0, "archived": 0}', 'until there is none');
select set_eq(
    'select m.prompt_hash from public.memoji_cache as m', array[pg_temp.key('2'), pg_temp.key('3'), pg_temp.key('4')],
    'used twice, young, or used often: these stay'
);
select is(
    public.cleanup_old_memoji('1 day', 1000) ->> 'memoji', '2', 'whoever asks for more gets more'
);
select results_eq(
    'select m.prompt_hash, m.archived_at is not null from public.memoji_cache as m',
    $$ values (repeat('4', 64), true) $$,
    'but never what is archived'
);
select lives_ok($$ delete from public.memoji_cache where prompt_hash = pg_temp.key('4') $$, 'a person may remove it');
select set_eq(
    'select g.kind from public.generation_status as g', array['image'], 'the generation is gone, images are untouched'
);
select set_eq(
    $$ select d.path from copperplate.discarded_objects as d where d.bucket = 'memoji-images' $$,
    (select array_agg('2026/01/' || repeat(n::text, 64) || '.png') from generate_series(1, 5) as n),
    'and every object is to be removed from the store'
);
select throws_ok('update public.memoji_cache set usage_count = 1', '55000', null, 'the view takes no updates');
select throws_ok('insert into public.memoji_cache (model) values (''x'')', '55000', null, 'nor inserts');
reset role;

set local role authenticated;
select throws_ok('select * from public.memoji_cache', '42501', null, 'a signed-in person does not see it');
reset role;

select * from finish();
rollback;
