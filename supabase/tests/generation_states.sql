-- What callers are told of generations, what is usual and popular, who may watch, and what warming was good for.
begin;
select plan(38);

create function pg_temp.key(p_name text)
returns text
language sql
as $$ select encode(sha256(p_name::bytea), 'hex') $$;

create function pg_temp.add(p_name text, p_status text, p_more jsonb default '{}')
returns void
language sql
as $$
    insert into public.generation_status
    select g.*
    from jsonb_populate_record(
        null::public.generation_status,
        jsonb_build_object(
            'prompt_hash', pg_temp.key(p_name), 'id', gen_random_uuid(), 'kind', 'image',
            'recipe', jsonb_build_object('prompt', p_name), 'prompt', p_name, 'dimensions', '64x64', 'model', 'm',
            'status', p_status, 'total_requests', 0, 'api_calls_made', 0, 'attempt', 1, 'submit_no', 0, 'decode_no', 0,
            'provider_usage', '{}'::jsonb, 'fence', 1, 'window_started_at', now(), 'created_at', now(),
            'updated_at', now()
        ) || p_more
    ) as g
$$;

create function pg_temp.lead(p_name text, p_phase text, p_lease interval)
returns void
language sql
as $$
    select pg_temp.add(
        p_name, case p_phase when 'claimed' then 'pending' else 'generating' end,
        jsonb_build_object(
            'phase', p_phase, 'leader', gen_random_uuid(), 'lease_until', now() + p_lease,
            'started_at', case when p_phase <> 'claimed' then now() end
        )
    )
$$;

create function pg_temp.fail(p_name text, p_class text, p_pause interval, p_phase text default 'claimed')
returns void
language sql
as $$
    select pg_temp.add(
        p_name, 'failed', jsonb_build_object('error_class', p_class, 'retry_at', now() + p_pause, 'phase', p_phase)
    )
$$;

create function pg_temp.store(p_name text, p_ms bigint, p_age interval, p_model text default 'm')
returns void
language sql
as $$
    select pg_temp.add(
        p_name, 'completed', jsonb_build_object('format', 'png', 'completed_at', now(), 'model', p_model)
    );
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height, generation_ms,
        created_at, last_accessed_at
    )
    values (
        pg_temp.key('original of ' || p_name), pg_temp.key(p_name), 'image', true, 'generated-images',
        '2026/01/' || pg_temp.key(p_name) || '.png', pg_temp.key(p_name), 1000, 'png', 64, 64, p_ms, now() - p_age,
        now() - p_age
    )
$$;

create function pg_temp.wish(p_name text)
returns void
language sql
as $$
    insert into copperplate.wishes (owner, generation_key, kind, recipe, priority, created_at)
    values ('owner', pg_temp.key(p_name), 'image', jsonb_build_object('prompt', p_name, 'model', 'm'), 2, now())
$$;

create function pg_temp.state(p_name text)
returns text
language sql
as $$
    select concat_ws(' ', s.told ->> 'state', s.told ->> 'error_class')
    from public.get_generation_state(pg_temp.key(p_name)) as s (told)
$$;

select pg_temp.lead('claimed', 'claimed', '1 minute');
select pg_temp.lead('sent', 'submitted', '1 minute');
select pg_temp.lead('dead', 'submitted', '-1 hour');
select pg_temp.fail('moderated', 'moderated', '1 hour');
select pg_temp.fail('passed', 'moderated', '-1 hour');
select pg_temp.fail('limited', 'rate_limited', '1 hour', 'submitting');
select pg_temp.fail('given up', 'abandoned', '-1 hour', 'submitted');
select pg_temp.fail('never sent', 'abandoned', '-1 hour');

set local role service_role;

select is(public.get_generation_state(pg_temp.key('nothing')), null, 'nothing is told of what nobody asked for');
select is(pg_temp.state('claimed'), 'pending', 'nothing was sent');
select is(pg_temp.state('sent'), 'generating', 'money may be out');
select is(pg_temp.state('dead'), 'generating', 'also where its leader is dead');
select is(pg_temp.state('moderated'), 'failed moderated', 'a failure is told with its class');
select is(
    round((public.get_generation_state(pg_temp.key('moderated')) ->> 'retry_after_ms')::numeric, -6), 4000000::numeric,
    'and its pause'
);
select is(pg_temp.state('passed'), 'failed moderated', 'also when it may be tried anew');
select is(public.get_generation_state(pg_temp.key('passed')) -> 'retry_after_ms', '0'::jsonb, 'at once');
select is(pg_temp.state('limited'), 'failed rate_limited', 'one that may pass has failed while nobody wishes for it');
select is(pg_temp.state('given up'), 'failed abandoned', 'so has what nobody collects');

-- The same, wished for.
reset role;
select pg_temp.wish(n.name)
from unnest(array['new', 'dead', 'moderated', 'passed', 'limited', 'given up', 'never sent']) as n (name);
set local role service_role;
select is(pg_temp.state('new'), 'pending', 'what is wished for is pending');
select is(pg_temp.state('dead'), 'generating', 'what was sent goes on');
select is(pg_temp.state('moderated'), 'failed moderated', 'a refusal stays one');
select is(pg_temp.state('passed'), 'pending', 'until it may be tried anew');
select is(pg_temp.state('limited'), 'pending', 'what may pass is tried again');
select is(pg_temp.state('given up'), 'generating', 'what was paid is collected');
select is(pg_temp.state('never sent'), 'pending', 'and what was not is begun anew');

-- Completed, and how long that takes.
select is(public.get_generation_state(pg_temp.key('new'), true) -> 'usual_ms', 'null'::jsonb, 'nothing is usual yet');
reset role;
select pg_temp.store('picture', 1000, '1 minute');
select pg_temp.store('slow', 9000, '2 minutes');
select pg_temp.store('quick', 100, '3 minutes');
select pg_temp.store('of another model', 90000, '0', 'n');
select pg_temp.store('older', 5000000, '1 day');
update copperplate.cache_entries as e
set archived_at = now()
where e.generation_key = pg_temp.key('older');
set local role service_role;
select is(pg_temp.state('picture'), 'completed', 'a stored picture is completed');
select is(
    public.get_generation_state(pg_temp.key('picture')) #>> '{entry,entry_key}', pg_temp.key('original of picture'),
    'and told with its original'
);
select is(
    (public.get_generation_state(pg_temp.key('new'), true) ->> 'usual_ms')::numeric, 1000::numeric,
    'the median of this model is usual'
);
select is(
    public.get_stored_keys(array[pg_temp.key('picture'), pg_temp.key('new'), pg_temp.key('sent')]),
    jsonb_build_array(pg_temp.key('picture')), 'stored is what is completed'
);

-- Popular.
select is(public.get_popular_recipes(7, 5), '[]'::jsonb, 'nothing is popular that nobody asked for');
update public.generation_status as g
set total_requests = case g.prompt when 'picture' then 5 when 'slow' then 9 when 'older' then 99 else 7 end
where g.prompt in ('picture', 'slow', 'older', 'moderated');
update public.generation_status as g
set updated_at = now() - interval '30 days'
where g.prompt in ('picture', 'slow', 'older');
update copperplate.cache_entries as e
set access_count = 1, last_accessed_at = now()
where e.generation_key = pg_temp.key('slow');
select is(
    jsonb_path_query_array(public.get_popular_recipes(7, 5), '$[*].prompt'), '["slow", "moderated"]'::jsonb,
    'what was asked for in these days, served or not, the most asked first'
);
select is(jsonb_array_length(public.get_popular_recipes(60, 2)), 2, 'as many as are asked for');

-- Watching.
select public.begin_watch(pg_temp.key('new'), pg_temp.key('token'), '10 minutes');
select ok(public.may_watch(pg_temp.key('new'), pg_temp.key('token')), 'a token permits to watch');
select ok(not public.may_watch(pg_temp.key('sent'), pg_temp.key('token')), 'its generation alone');
select ok(not public.may_watch(pg_temp.key('new'), pg_temp.key('guessed')), 'another does not');
select public.begin_watch('0b6ff6c9-6f0b-4f39-9c0f-0d6d4f6f0001', pg_temp.key('token'), '10 minutes');
select ok(
    public.may_watch('0b6ff6c9-6f0b-4f39-9c0f-0d6d4f6f0001', pg_temp.key('token')), 'a batch is watched by its id'
);
select throws_ok(
    $$ select public.begin_watch('one batch', pg_temp.key('token'), '0') $$, '23514', null, 'and nothing else is'
);
select set_config('copperplate.clock_offset', '601 seconds', true);
select ok(not public.may_watch(pg_temp.key('new'), pg_temp.key('token')), 'nor the same later');
select public.sweep_generations(1);
select is_empty('select * from copperplate.event_tokens', 'and it is forgotten');

-- Warmed.
select set_config('copperplate.clock_offset', '', true);
reset role;
insert into copperplate.batches (owner, purpose, created_at) values ('owner', 'warm', now());
insert into copperplate.batches (owner, purpose, created_at) values ('owner', 'batch', now());
insert into copperplate.wishes (
    batch_id, position, owner, generation_key, kind, recipe, spending, priority, status, cached, created_at, settled_at,
    forget_at
)
select
    b.id,
    w.position,
    b.owner,
    pg_temp.key(w.name) as generation_key,
    'image' as kind,
    jsonb_build_object('prompt', w.name) as recipe,
    '{"amount_micro_usd": 3000}'::jsonb as spending,
    w.priority,
    w.status,
    w.cached,
    b.created_at,
    w.settled_at,
    w.forget_at
from copperplate.batches as b
cross join jsonb_to_recordset(
    '[
        {"position": 0, "name": "picture", "status": "completed", "cached": false, "settled_at": "now",
        "forget_at": "tomorrow", "priority": 3},
        {"position": 1, "name": "slow", "status": "completed", "cached": false, "settled_at": "now",
        "forget_at": "tomorrow", "priority": 3},
        {"position": 2, "name": "quick", "status": "completed", "cached": true, "settled_at": "now",
        "forget_at": "tomorrow", "priority": 3},
        {"position": 3, "name": "new", "status": "open", "cached": false, "priority": 3}
    ]'
) as w (
    position integer, name text, status text, cached boolean, settled_at timestamptz, forget_at timestamptz,
    priority integer
);
insert into copperplate.submits (generation_key, kind, provider, model, sent_at, saved)
values (pg_temp.key('slow'), 'image', 'p', 'm', now() - interval '1 day', 50);
insert into copperplate.submits (generation_key, kind, provider, model, sent_at, saved)
values (pg_temp.key('slow'), 'image', 'p', 'm', now() + interval '1 second', 2);
set local role service_role;
select results_eq(
    'select w.prompt, w.kind, w.estimate_micro_usd, w.requests_since from public.warmed_pictures as w order by 1',
    $$ values ('picture', 'image', 3000::bigint, 0::bigint), ('slow', 'image', 3000::bigint, 2::bigint) $$,
    'warmed is what warming made, with how often it was asked for since'
);
select results_eq(
    'select * from public.get_warming_stats()',
    'values (2::bigint, 1::bigint, 2::bigint, 6000::bigint, 3000::bigint)',
    'and in sum'
);

-- Who may.
set local role anon;
select throws_ok($$ select public.get_generation_state('') $$, '42501', null, 'anon asks for no state');
select throws_ok($$ select public.begin_watch('', '', '0') $$, '42501', null, 'and hands no token out');
select throws_ok('select * from public.warmed_pictures', '42501', null, 'nor sees what was warmed');
select throws_ok('select * from public.get_warming_stats()', '42501', null, 'nor how much');

select * from finish();
rollback;
