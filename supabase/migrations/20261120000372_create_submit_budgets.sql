-- The wall: a submit passes it, or its leader gives everything back.

create function copperplate.pass_budgets(
    p_spending jsonb, p_now timestamptz, p_key text, p_reserved jsonb
)
returns copperplate.budget_look
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.budget_look;
begin
    -- Each round looks anew; one is lost only to somebody who booked what this one saw free.
    for v_round in 1..5 loop
        v := copperplate.find_refusal(p_spending, p_now, p_key, p_reserved);
        if v.refusal is null and v.lacks_salt then
            perform copperplate.make_salts(v.day);
            v := copperplate.find_refusal(p_spending, p_now, p_key, p_reserved);
        end if;
        if v.refusal is not null then
            return v;
        end if;
        begin
            perform copperplate.book_spending(p_key, v, p_spending, p_reserved, true);
            return v;
        exception
            when sqlstate 'ZC011' then
                null;
        end;
    end loop;
    v.refusal := copperplate.refusal(
        v.states[1], 'in_flight', v.states[1].used_micro_usd, v.states[1].used_pictures, p_now
    );
    return v;
end;
$$;

comment on function copperplate.pass_budgets(jsonb, timestamptz, text, jsonb) is
'Book every budget of a submit, with what its generation reserved, or none: then with the refusal.';
revoke all on function copperplate.pass_budgets(jsonb, timestamptz, text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.pass_budgets(jsonb, timestamptz, text, jsonb) to service_role;

create function copperplate.give_lead_back(p_key text, p_services text[], p_reserved jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    -- Nothing failed, and nothing is remembered: whoever asks next goes on from here, at once.
    update public.generation_status as g
    set
        status = 'failed', error_class = 'abandoned', error_message = 'a budget refused the submit', retry_at = v_now,
        leader = null, lease_until = null, reserved = null, updated_at = v_now
    where g.prompt_hash = p_key;
    perform copperplate.release_probes(p_services);
    perform copperplate.give_back_all(array[p_key]);
    perform copperplate.release_spending(p_reserved);
    perform pg_notify('copperplate', p_key);
end;
$$;

comment on function copperplate.give_lead_back(text, text[], jsonb) is
'A budget refuses the submit of a leader: lease, probes, credits and reservations are free in this transaction.';
revoke all on function copperplate.give_lead_back(text, text[], jsonb) from public, anon, authenticated;
grant execute on function copperplate.give_lead_back(text, text[], jsonb) to service_role;
