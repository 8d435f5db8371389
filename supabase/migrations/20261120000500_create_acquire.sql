-- Who may generate: look, then compare and set. Reading first keeps waiters from locking anything;
-- an upsert would lock the row even when it refuses, at a fifth of the speed.

-- A new row for a key nobody has asked for, led by the caller; null when somebody was faster.
create function copperplate.claim_new(
    p_recipe jsonb, p_generation_key text, p_leader uuid, p_lease interval
)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_fence bigint;
begin
    if public.cache_key(p_recipe) <> p_generation_key then
        raise exception 'the generation key is not the key of the recipe'
            using errcode = 'ZC002', hint = 'Send cache_key(p_recipe) as p_generation_key.';
    end if;

    insert into public.generation_status (
        prompt_hash, kind, recipe, prompt, dimensions, model,
        phase, window_started_at, fence, leader, lease_until, created_at, updated_at
    )
    select
        p_generation_key, k.name, p_recipe, p_recipe ->> 'prompt',
        coalesce(p_recipe ->> 'size', (p_recipe ->> 'width') || 'x' || (p_recipe ->> 'height')), p_recipe ->> 'model',
        'claimed', v_now, nextval('copperplate.fences'), p_leader, v_now + p_lease, v_now, v_now
    from copperplate.kinds as k
    where k.name = p_recipe ->> 'kind'
    on conflict (prompt_hash) do nothing
    returning fence into v_fence;
    if v_fence is null and not exists (select from copperplate.kinds as k where k.name = p_recipe ->> 'kind') then
        raise exception 'unknown kind of picture'
            using errcode = 'ZC003', hint = 'Known kinds are the rows of copperplate.kinds.';
    end if;
    return v_fence;
end;
$$;

comment on function copperplate.claim_new(jsonb, text, uuid, interval) is
'Insert a generation led by the caller; answers its fence, or null if the key exists.';
revoke all on function copperplate.claim_new(jsonb, text, uuid, interval) from public, anon, authenticated;
grant execute on function copperplate.claim_new(jsonb, text, uuid, interval) to service_role;

-- What a dead leader left behind is kept. After a failure nothing is, except where nothing failed but the collecting:
-- the sweep gave up on a leader, or a leader on a job that could not be had yet.
create function copperplate.resumes(p_seen copperplate.acquire_result)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return coalesce(
        p_seen.status in ('pending', 'generating')
        or (p_seen.status = 'failed' and p_seen.error_class in ('abandoned', 'uncollected')),
        false
    );
end;
$$;

comment on function copperplate.resumes(copperplate.acquire_result) is
'Whether the next leader goes on where the last one stopped; otherwise it begins a new attempt.';
revoke all on function copperplate.resumes(copperplate.acquire_result) from public, anon, authenticated;
grant execute on function copperplate.resumes(copperplate.acquire_result) to service_role;

-- Take a generation over whose lease ran out, or begin a new attempt after a failure: compare the
-- fence and the state that were seen, and set. Null when somebody was faster.
create function copperplate.claim_again(
    p_seen copperplate.acquire_result, p_generation_key text, p_leader uuid, p_lease interval
)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_resume boolean := copperplate.resumes(p_seen);
    v_fence bigint;
begin
    if not v_resume then
        perform copperplate.discard_object(g.kind, g.intent ->> 'path', g.prompt_hash)
        from public.generation_status as g
        where g.prompt_hash = p_generation_key and g.fence = p_seen.fence;
    end if;

    update public.generation_status as g
    set
        fence = nextval('copperplate.fences'),
        leader = p_leader,
        lease_until = v_now + p_lease,
        status = case when v_resume and g.phase <> 'claimed' then 'generating' else 'pending' end,
        phase = case when v_resume then g.phase else 'claimed' end,
        submit_no = case when v_resume then g.submit_no else 0 end,
        -- Whoever wrote down that a job is not collected yet came back alive from decoding.
        decode_no = case when v_resume and p_seen.error_class is distinct from 'uncollected' then g.decode_no else 0 end,
        provider_request_id = case when v_resume then g.provider_request_id end,
        provider_urls = case when v_resume then g.provider_urls end,
        noted_at = case when v_resume then g.noted_at end,
        intent = case when v_resume then g.intent end,
        -- Only failures of the picture count against the day's attempts: a limited rate and our account do not.
        attempt = case
            when g.window_started_at < v_now - interval '1 day' then 1
            when v_resume or g.error_class in ('rate_limited', 'account') then g.attempt
            else g.attempt + 1
        end,
        window_started_at = case
            when g.window_started_at < v_now - interval '1 day' then v_now else g.window_started_at
        end,
        error_class = null,
        error_message = null,
        retry_at = null,
        completed_at = null,
        updated_at = v_now
    where
        g.prompt_hash = p_generation_key
        and g.fence = p_seen.fence
        and g.status = p_seen.status
        and (g.lease_until is null or g.lease_until <= v_now)
        and (g.retry_at is null or g.retry_at <= v_now)
    returning g.fence into v_fence;
    return v_fence;
end;
$$;

comment on function copperplate.claim_again(copperplate.acquire_result, text, uuid, interval) is
'Take over a dead lease or retry a failed generation; answers the new fence, or null if somebody was faster.';
revoke all on function copperplate.claim_again(copperplate.acquire_result, text, uuid, interval)
from public, anon, authenticated;
grant execute on function copperplate.claim_again(copperplate.acquire_result, text, uuid, interval) to service_role;

create function public.acquire_generation(
    p_recipe jsonb,
    p_generation_key text,
    p_rendition_key text,
    p_leader uuid,
    p_lease interval,
    p_charges jsonb default '[]',
    p_services text[] default '{}'
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.acquire_result;
    v_fence bigint;
    v_rest interval;
    v_error_class text;
begin
    -- Each round looks anew; a round is lost only to somebody who won, so few are ever needed.
    for v_round in 1..5 loop
        -- Of this round alone: a lost one may have found a service at rest, and this one a job that needs none.
        v_rest := null;
        v := public.peek_generation(p_generation_key, p_rendition_key);
        if v.outcome = 'wait' and v.leader = p_leader then
            -- The holder asks again: its first answer was lost. It trusts its lease from this call on, so
            -- the lease runs from here.
            if public.heartbeat_generation(p_generation_key, v.fence, p_lease) then
                v.outcome := 'lead';
                return v;
            end if;
            continue;
        elsif v.outcome <> 'free' then
            return v;
        end if;

        -- Under a stricter isolation the next look would not see the winner.
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception 'acquire_generation needs read committed'
                using errcode = 'ZC004', hint = 'Remove default_transaction_isolation from the role or database.';
        end if;

        -- What is paid for is collected whatever the breakers say; only a new submit has to wait.
        if not copperplate.resumes(v) or (v.provider_request_id is null and v.intent is null) then
            -- Hardly ever does anything rest.
            if exists (select from copperplate.breakers as b where b.open_until is not null) then
                select r.rest, r.error_class into v_rest, v_error_class from copperplate.longest_rest(p_services) as r;
            end if;
            if v_rest > interval '0' then
                v.outcome := 'negative';
                v.error_class := v_error_class;
                v.retry_after_ms := least(ceil(extract(epoch from v_rest) * 1000), 2147483647)::integer;
                return v;
            end if;
        end if;

        begin
            if v.status is null then
                v_fence := copperplate.claim_new(p_recipe, p_generation_key, p_leader, p_lease);
            else
                v_fence := copperplate.claim_again(v, p_generation_key, p_leader, p_lease);
            end if;
            -- Generation first, then breakers: the one lock order. Who is too late gives the lease back.
            if v_rest is not null and v_fence is not null and not copperplate.take_probes(p_services, p_lease) then
                raise exception 'another caller tries this service' using errcode = 'ZC007';
            end if;
            if v_fence is not null and p_charges <> '[]' then
                perform copperplate.reserve_charges(p_generation_key, p_charges);
            end if;
        exception
            when sqlstate 'ZC007' then
                v_fence := null;
            when sqlstate 'ZC008' then
                -- The lease is undone with the rest of the block: nobody waits for one that cannot pay.
                v.outcome := 'denied';
                return v;
        end;
        if v_fence is not null and v.status is null then
            -- As claim_new has just made it: to read it again would cost a tenth of the whole.
            v.kind := p_recipe ->> 'kind';
            v.status := 'pending';
            v.phase := 'claimed';
            v.fence := v_fence;
            v.leader := p_leader;
            v.attempt := 1;
            v.submit_no := 0;
            v.decode_no := 0;
            v.lease_left_ms := least(ceil(extract(epoch from p_lease) * 1000), 2147483647)::integer;
            v.outcome := 'lead';
            return v;
        elsif v_fence is not null then
            v := public.peek_generation(p_generation_key, p_rendition_key);
            v.outcome := 'lead';
            return v;
        end if;
    end loop;

    v.outcome := 'wait';
    v.lease_left_ms := 0;
    return v;
end;
$$;

comment on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[]) is
'Settle what the caller is: hit, lead (with a fence), wait, negative, or denied where it would lead and cannot pay
p_charges, [{kind, user_id, amount}], which are reserved with the lead.
Repeated by the holder it answers the same lead and fence, and the lease runs anew.
While a breaker of p_services, what a submit needs, is open: negative instead of a lead that would submit.';
revoke all on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[])
from public, anon, authenticated;
grant execute on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[])
to service_role;
