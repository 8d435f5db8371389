-- Claims of a lease: compare and set, so that of many who saw the same one wins.

-- A new row for a key nobody has asked for, led by the caller; null when somebody was faster.
create function copperplate.claim_new(
    p_recipe jsonb, p_generation_key text, p_leader uuid, p_lease interval, p_reserved jsonb
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
        phase, window_started_at, fence, leader, lease_until, reserved, created_at, updated_at
    )
    select
        p_generation_key, k.name, p_recipe, p_recipe ->> 'prompt',
        -- Of a picture that is made from another, its completion says them.
        coalesce(p_recipe ->> 'size', (p_recipe ->> 'width') || 'x' || (p_recipe ->> 'height'), ''),
        p_recipe ->> 'model',
        'claimed', v_now, nextval('copperplate.fences'), p_leader, v_now + p_lease, p_reserved,
        v_now, v_now
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

comment on function copperplate.claim_new(jsonb, text, uuid, interval, jsonb) is
'Insert a generation led by the caller; answers its fence, or null if the key exists.';
revoke all on function copperplate.claim_new(jsonb, text, uuid, interval, jsonb) from public, anon, authenticated;
grant execute on function copperplate.claim_new(jsonb, text, uuid, interval, jsonb) to service_role;

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
