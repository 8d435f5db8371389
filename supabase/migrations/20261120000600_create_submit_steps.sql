-- The leader's steps up to the picture. Each is one short transaction, carries the fence, and may be repeated. Locks
-- are taken in the order of create_reservations.sql.

create function public.begin_submit(
    p_key text,
    p_fence bigint,
    p_submit_no integer,
    p_provider text,
    p_estimate_micro_usd bigint default null,
    p_spending jsonb default null
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_before integer;
    v_job text;
    v_kind text;
    v_model text;
    v_path text;
    v_reserved jsonb;
    v_look copperplate.budget_look;
    v_answer copperplate.acquire_result;
begin
    perform copperplate.hold_user(p_spending);
    -- Before money is out: an election that began before the takedown ends here.
    perform copperplate.enforce_takedown(p_key);
    select g.submit_no, g.provider_request_id, g.kind, g.model, g.intent ->> 'path', g.reserved
    into v_before, v_job, v_kind, v_model, v_path, v_reserved
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating')
    for update;
    -- A job that a dead leader told of late, after this one took over, is there to be collected.
    if not found or v_job is not null or p_submit_no not in (v_before, v_before + 1) then
        return copperplate.stale();
    end if;
    -- Said before: nothing is counted twice, and a late repeat undoes no later step.
    v_answer.outcome := 'lead';
    if p_submit_no = v_before then
        return v_answer;
    end if;

    if p_spending is not null then
        v_look := copperplate.pass_budgets(p_spending, v_now, p_key, v_reserved);
    elsif v_reserved is not null then
        perform copperplate.release_spending(v_reserved);
    end if;
    if v_look.refusal is not null then
        perform copperplate.give_lead_back(p_key, copperplate.services_of(p_provider, v_kind, v_model), v_reserved);
        v_answer.outcome := 'refused';
        v_answer.refusal := v_look.refusal;
        return v_answer;
    end if;
    v_answer.near_caps := v_look.near_caps;

    perform copperplate.discard_object(v_kind, v_path, p_key);

    update public.generation_status as g
    set
        status = 'generating',
        phase = 'submitting',
        provider = p_provider,
        submit_no = p_submit_no,
        api_calls_made = g.api_calls_made + 1,
        intent = null,
        reserved = null,
        started_at = case when v_before = 0 then v_now else g.started_at end,
        updated_at = v_now
    where g.prompt_hash = p_key;

    insert into copperplate.submits (
        generation_key, kind, provider, model, sent_at, estimate_micro_usd, booked_micro_usd, budgets
    )
    values (
        p_key, v_kind, p_provider, v_model, v_now, p_estimate_micro_usd,
        (p_spending ->> 'amount_micro_usd')::bigint, coalesce(v_look.budgets, '{}')
    );
    insert into copperplate.public_totals (day, kind, api_calls)
    values ((v_now at time zone 'UTC')::date, v_kind, 1);
    return v_answer;
end;
$$;

comment on function public.begin_submit(text, bigint, integer, text, bigint, jsonb) is
'Write ahead that submit p_submit_no of this attempt is about to be sent: money may be out from here on, as much as
p_estimate_micro_usd, millionths of a dollar, null where the price is not known. Every budget of p_spending is booked, what
was reserved becomes part of that: lead, with near_caps; refused where one has no room, and then the lead is given back;
stale for an old fence, and while a job is known.';
revoke all on function public.begin_submit(text, bigint, integer, text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.begin_submit(text, bigint, integer, text, bigint, jsonb) to service_role;

create function public.note_request(p_key text, p_fence bigint, p_request_id text, p_urls jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_fence bigint;
begin
    -- An older leader may still tell its id while none is known: it saves a call and leads nowhere.
    update public.generation_status as g
    set
        provider_request_id = p_request_id,
        provider_urls = p_urls,
        -- Said twice, it is the same job, and as old.
        noted_at = case when g.provider_request_id = p_request_id then g.noted_at else copperplate.clock() end,
        phase = case when g.phase = 'submitting' then 'submitted' else g.phase end,
        updated_at = copperplate.clock()
    where
        g.prompt_hash = p_key
        and g.status = 'generating'
        and (g.fence = p_fence or (g.fence > p_fence and g.provider_request_id is null))
    returning g.fence into v_fence;
    return coalesce(v_fence = p_fence, false);
end;
$$;

comment on function public.note_request(text, bigint, text, jsonb) is
'Note the provider''s request id, so that a successor collects the job instead of paying again.';
revoke all on function public.note_request(text, bigint, text, jsonb) from public, anon, authenticated;
grant execute on function public.note_request(text, bigint, text, jsonb) to service_role;

create function public.begin_decode(p_key text, p_fence bigint, p_decode_no integer)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- Set like the number of a submit, so that a repeated call counts nothing twice.
    update public.generation_status as g
    set decode_no = p_decode_no
    where
        g.prompt_hash = p_key
        and g.fence = p_fence
        and g.status = 'generating'
        and p_decode_no in (g.decode_no, g.decode_no + 1);
    return found;
end;
$$;

comment on function public.begin_decode(text, bigint, integer) is
'Write ahead that the picture is about to be decoded: a leader that dies of it leaves the number behind.';
revoke all on function public.begin_decode(text, bigint, integer) from public, anon, authenticated;
grant execute on function public.begin_decode(text, bigint, integer) to service_role;

create function public.heartbeat_generation(p_key text, p_fence bigint, p_lease interval)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    update public.generation_status as g
    set lease_until = copperplate.clock() + p_lease
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating');
    return found;
end;
$$;

comment on function public.heartbeat_generation(text, bigint, interval) is
'Extend the lease of the holder of p_fence; false tells it to stop.';
revoke all on function public.heartbeat_generation(text, bigint, interval) from public, anon, authenticated;
grant execute on function public.heartbeat_generation(text, bigint, interval) to service_role;
