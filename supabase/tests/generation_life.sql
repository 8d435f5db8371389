-- The life of a generation: acquired once, completed by its fence, or failed for a while.
begin;
select plan(25);

create temporary table pictures as
select
    p.recipe,
    public.cache_key(p.recipe) as key,
    public.rendition_cache_key(public.cache_key(p.recipe), 'original') as original_key,
    public.rendition_cache_key(public.cache_key(p.recipe), 'jpg') as jpg_key
from (
    values
    ('{"v": 1, "kind": "image", "prompt": "a fox", "width": 64, "height": 64, "model": "m"}'::jsonb),
    ('{"v": 1, "kind": "image", "prompt": "a hen", "width": 64, "height": 64, "model": "m"}'::jsonb)
) as p (recipe);
create temporary table fox as
select * from pictures
where recipe ->> 'prompt' = 'a fox';
create temporary table hen as
select * from pictures
where recipe ->> 'prompt' = 'a hen';
grant select on fox, hen to service_role;

create function pg_temp.ask(p_leader uuid)
returns setof copperplate.acquire_result
language sql
as $$
    select a.*
    from fox as f
    cross join lateral public.acquire_generation(f.recipe, f.key, f.jpg_key, p_leader, '20 seconds') as a
$$;

create function pg_temp.submit(p_fence bigint, p_submit_no integer)
returns boolean
language sql
as $$ select (public.begin_submit(f.key, p_fence, p_submit_no, 'painter')).outcome = 'lead' from fox as f $$;

create function pg_temp.complete(p_fence bigint)
returns setof copperplate.acquire_result
language sql
as $$
    select c.*
    from fox as f
    cross join lateral public.complete_generation(
        f.key, p_fence, f.original_key, jsonb_build_object(
            'path', '2026/01/' || repeat('b', 64) || '.png', 'digest', repeat('b', 64), 'size_bytes', 1000, 'format', 'png', 'width', 64, 'height', 64
        ),
        null
    ) as c
$$;

-- All of it with the one role that runs it in production.
set local role service_role;

select is(
    (select p.outcome from fox as f, public.peek_generation(f.key, f.jpg_key) as p), 'free', 'unknown at first'
);
select is(
    (select a.outcome from pg_temp.ask('00000000-0000-4000-8000-000000000001') as a), 'lead', 'the first leads'
);
create temporary table first_lease as
select g.fence from public.generation_status as g inner join fox as f on g.prompt_hash = f.key;
select is(
    (select a.fence from pg_temp.ask('00000000-0000-4000-8000-000000000001') as a),
    (select l.fence from first_lease as l),
    'asking again the leader has the same fence'
);
select is(
    (select a.outcome from pg_temp.ask('00000000-0000-4000-8000-000000000002') as a), 'wait', 'the second waits'
);
select ok(pg_temp.submit((select l.fence from first_lease as l), 1), 'the leader writes ahead that it submits');
select ok(pg_temp.submit((select l.fence from first_lease as l), 1), 'a repeated write is fine');
select is(
    (select g.api_calls_made from public.generation_status as g inner join fox as f on g.prompt_hash = f.key), 1,
    'and counts once'
);
select ok(
    not pg_temp.submit((select l.fence - 1 from first_lease as l), 1), 'a fence that is not the newest submits nothing'
);

-- The leader dies: time passes, another takes over.
select set_config('copperplate.clock_offset', '30 seconds', true);
select is(
    (select a.outcome from pg_temp.ask('00000000-0000-4000-8000-000000000002') as a), 'lead',
    'a lease that ran out is taken over'
);
create temporary table second_lease as
select
    g.fence,
    g.phase
from public.generation_status as g inner join fox as f on g.prompt_hash = f.key;
select cmp_ok(
    (select l.fence from second_lease as l), '>', (select l.fence from first_lease as l), 'with a higher fence'
);
select is((select l.phase from second_lease as l), 'submitting', 'knowing how far the first one got');
select is(
    (select c.outcome from pg_temp.complete((select l.fence from first_lease as l)) as c), 'stale',
    'the first one is too late'
);
select is(
    (select c.outcome from pg_temp.complete((select l.fence from second_lease as l)) as c), 'hit',
    'the second completes'
);
select is(
    (select c.path from pg_temp.complete((select l.fence from second_lease as l)) as c),
    '2026/01/' || repeat('b', 64) || '.png',
    'a repeated completion has the same answer'
);
select is(
    (select a.outcome from pg_temp.ask('00000000-0000-4000-8000-000000000003') as a), 'hit', 'from now on it is a hit'
);

-- Another picture fails.
create temporary table hen_lease as
select a.fence
from hen as h
cross join lateral public.acquire_generation(
    h.recipe, h.key, h.jpg_key, '00000000-0000-4000-8000-000000000001', '20 seconds'
) as a;
select ok(
    (select (public.begin_submit(h.key, l.fence, 1, 'painter')).outcome = 'lead' from hen as h, hen_lease as l),
    'another is submitted'
);
select ok(
    (
        select public.fail_generation(h.key, l.fence, 'moderated', 'refused', '10 minutes', false)
        from hen as h, hen_lease as l
    ),
    'it fails'
);
select results_eq(
    $$ select p.outcome, p.error_class, p.retry_after_ms between 1 and 600000
       from hen as h, public.peek_generation(h.key, h.jpg_key) as p $$,
    $$ values ('negative', 'moderated', true) $$,
    'the failure is remembered for ten minutes'
);
select is(
    (select g.api_calls_made from public.generation_status as g inner join hen as h on g.prompt_hash = h.key), 0,
    'a submit that was free is not counted'
);
select set_config('copperplate.clock_offset', '15 minutes', true);
select is(
    (select p.outcome from hen as h, public.peek_generation(h.key, h.jpg_key) as p), 'free', 'and then forgotten'
);

-- A job that cannot be collected is put off, and known when it is taken up again.
create temporary table paid as
select a.fence
from hen as h, public.acquire_generation(
    h.recipe, h.key, h.jpg_key, '00000000-0000-4000-8000-000000000001', '20 seconds'
) as a;
select ok(
    (
        select
            (public.begin_submit(h.key, l.fence, 1, 'painter')).outcome = 'lead'
            and public.note_request(h.key, l.fence, 'job-1', '{}')
            and public.fail_generation(h.key, l.fence, 'uncollected', 'a 404', '1 minute', true)
        from hen as h, paid as l
    ),
    'a job is noted and put off'
);
select results_eq(
    $$ select p.outcome, p.error_class, p.provider_request_id
       from hen as h, public.peek_generation(h.key, h.jpg_key) as p $$,
    $$ values ('negative', 'uncollected', 'job-1') $$,
    'nobody collects it for a minute'
);
select set_config('copperplate.clock_offset', '17 minutes', true);
create temporary table again as
select a.*
from hen as h, public.acquire_generation(
    h.recipe, h.key, h.jpg_key, '00000000-0000-4000-8000-000000000002', '20 seconds'
) as a;
select results_eq(
    $$ select a.outcome, a.phase, a.provider_request_id, a.attempt, a.submit_no, a.job_age_ms between 110000 and 130000
       from again as a $$,
    $$ values ('lead', 'submitted', 'job-1', 2, 1, true) $$,
    'then the next leader is given the job, and its age'
);
select ok(
    (select public.fail_generation(h.key, a.fence, 'lost', 'a 404', '0 seconds', true) from hen as h, again as a),
    'its retention is over'
);
select results_eq(
    $$ select a.outcome, a.phase, a.provider_request_id, a.job_age_ms
       from hen as h, public.acquire_generation(
           h.recipe, h.key, h.jpg_key, '00000000-0000-4000-8000-000000000003', '20 seconds'
       ) as a $$,
    $$ values ('lead', 'claimed', null::text, null::integer) $$,
    'and the next leader begins anew'
);
reset role;

select * from finish();
rollback;
