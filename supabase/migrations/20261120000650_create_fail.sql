-- How a generation ends: without a picture, for the time being.

create function public.fail_generation(
    p_key text,
    p_fence bigint,
    p_error_class text,
    p_error_message text,
    p_retry_after interval,
    p_billed boolean,
    p_usage jsonb default '{}',
    p_cost_micro_usd bigint default null
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_uncounted integer;
    v_provider text;
    v_kind text;
    v_model text;
    v_reserved jsonb;
begin
    -- A submit that is known to be free is not counted as a billable call; one whose picture was here was billed.
    select
        case when p_billed or g.submit_no = 0 or g.phase = 'uploading' then 0 else 1 end,
        case when g.submit_no > 0 then g.provider end, g.kind, g.model, g.reserved
    into v_uncounted, v_provider, v_kind, v_model, v_reserved
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating')
    for update;
    if not found then
        return exists (
            select from public.generation_status as g
            where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'failed'
        );
    end if;

    update public.generation_status as g
    set
        status = 'failed',
        error_class = p_error_class,
        error_message = left(p_error_message, 1000),
        retry_at = v_now + p_retry_after,
        api_calls_made = g.api_calls_made - v_uncounted,
        provider_usage = case
            when g.phase = 'uploading' then g.provider_usage
            else copperplate.add_usage(g.provider_usage, p_usage)
        end,
        leader = null,
        lease_until = null,
        reserved = null,
        updated_at = v_now
    where g.prompt_hash = p_key;

    -- Breakers before reservations, as in complete_generation and acquire_generation.
    perform copperplate.release_probes(copperplate.services_of(v_provider, v_kind, v_model));
    if v_provider is not null then
        perform copperplate.note_failure(v_provider, p_error_class, p_key);
    end if;
    -- Nothing of this attempt is held any longer, and what a free submit was estimated to cost was not spent.
    perform copperplate.give_back_all(array[p_key]);
    perform copperplate.note_cost(
        p_key, case when v_uncounted > 0 then 0 else p_cost_micro_usd end, v_uncounted > 0, v_reserved
    );
    insert into copperplate.public_totals (day, kind, failures, api_calls)
    values (
        (v_now at time zone 'UTC')::date, v_kind,
        -- A job that is to be collected later has not failed.
        case when p_error_class = 'uncollected' then 0 else 1 end,
        -v_uncounted
    );
    perform pg_notify('copperplate', p_key);
    return true;
end;
$$;

comment on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint) is
'Record a negative entry: no new attempt before p_retry_after has passed. What was reserved is released.
p_usage and p_cost_micro_usd are what the provider reported to bill for a picture that is not usable.';
revoke all on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint)
from public, anon, authenticated;
grant execute on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint)
to service_role;
