-- Who may generate: look, then compare and set. Reading first keeps waiters from locking anything, and who is refused
-- from writing; an upsert would lock the row even when it refuses, at a fifth of the speed.

create function public.acquire_generation(
    p_recipe jsonb,
    p_generation_key text,
    p_rendition_key text,
    p_leader uuid,
    p_lease interval,
    p_charges jsonb default '[]',
    p_services text[] default '{}',
    p_spending jsonb default null
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.acquire_result;
    v_look copperplate.budget_look;
    v_submits boolean;
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
        elsif v.outcome = 'gone' then
            perform copperplate.enforce_takedown(p_generation_key, p_rendition_key);
            return v;
        elsif v.outcome <> 'free' then
            return v;
        end if;

        -- Under a stricter isolation the next look would not see the winner.
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception 'acquire_generation needs read committed'
                using errcode = 'ZC004', hint = 'Remove default_transaction_isolation from the role or database.';
        end if;

        -- Of what was taken down nothing is made. Held until this election can be seen by the next takedown.
        if p_recipe ->> 'kind' = 'processed' then
            perform copperplate.hold_lineage();
            if copperplate.source_is_taken_down(p_recipe ->> 'source') then
                v := null;
                v.outcome := 'gone';
                return v;
            end if;
        end if;

        -- What is paid for is collected whatever the breakers say; only a new submit has to wait.
        v_submits := not copperplate.resumes(v) or (v.provider_request_id is null and v.intent is null);
        if v_submits then
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

        if p_charges <> '[]' and not copperplate.can_pay(p_generation_key, p_charges) then
            v.outcome := 'denied';
            return v;
        end if;
        v_look := null;
        if v_submits and p_spending is not null then
            v_look := copperplate.look_for_lead(p_spending, p_generation_key, v.status is null);
            if v_look.refusal is not null then
                v.outcome := 'refused';
                v.refusal := v_look.refusal;
                return v;
            end if;
        end if;

        begin
            if v.status is null then
                v_fence := copperplate.claim_new(
                    p_recipe, p_generation_key, p_leader, p_lease, copperplate.reservation_of(v_look, p_spending)
                );
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
            if v_fence is not null and v_look.states is not null then
                perform copperplate.reserve_spending(p_generation_key, v_look, p_spending, v.status is null);
            end if;
        exception
            -- Somebody else tries the service, or took what was left of a budget: the next look tells.
            when sqlstate 'ZC007' or sqlstate 'ZC011' then
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
            -- Taken down in between, by the key of the rendition alone.
            continue when v.outcome = 'gone';
            v.outcome := 'lead';
            return v;
        end if;
    end loop;

    v.outcome := 'wait';
    v.lease_left_ms := 0;
    return v;
end;
$$;

comment on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[], jsonb) is
'Settle what the caller is: hit, lead (with a fence), wait, negative, gone, denied where it would lead and cannot pay
p_charges, [{kind, user_id, amount}], which are reserved with the lead, or refused where it would submit and a budget has
no room for p_spending, {amount_micro_usd, max_in_flight, budgets}. Its own budgets, is_own, are reserved with the lead.
Repeated by the holder it answers the same lead and fence, and the lease runs anew.
While a breaker of p_services, what a submit needs, is open: negative instead of a lead that would submit.';
revoke all on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[], jsonb)
from public, anon, authenticated;
grant execute on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[], jsonb)
to service_role;
