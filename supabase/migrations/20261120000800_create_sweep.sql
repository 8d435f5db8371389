-- What leaders left behind. Nothing here is needed for correctness; all of it is bounded, and any number of callers may
-- run it at once.

create function public.sweep_generations(
    p_limit integer default 20, p_horizon interval default '10 minutes'
)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_swept integer;
    v_reserved jsonb[];
begin
    -- Nobody has asked since the leader died, or a follower would have taken over. What is known of
    -- its job is kept: the next one to ask collects it.
    with expired as (
        select g.prompt_hash, g.reserved
        from public.generation_status as g
        where g.status in ('pending', 'generating') and g.lease_until < copperplate.clock() - p_horizon
        limit p_limit
        for update skip locked
    ),

    swept as (
        update public.generation_status as g
        set
            status = 'failed', error_class = 'abandoned', error_message = 'the leader died and nobody asked again',
            retry_at = copperplate.clock(), leader = null, lease_until = null, reserved = null,
            updated_at = copperplate.clock()
        from expired as e
        where g.prompt_hash = e.prompt_hash
        returning e.reserved
    )

    select count(*), array_agg(s.reserved) filter (where s.reserved is not null)
    into v_swept, v_reserved
    from swept as s;

    perform copperplate.release_expired(p_limit);
    -- Small, and one or more for each request of a signed-in person: a caller that sweeps once a day is to keep up.
    perform copperplate.forget_old_requests(20 * p_limit);
    perform copperplate.forget_old_batches(20 * p_limit);
    perform copperplate.forget_old_wishes(20 * p_limit);
    perform copperplate.forget_old_cdn_purges(20 * p_limit);
    perform copperplate.fold_totals();
    perform copperplate.fold_money();
    -- Late, as elections wait for these counters; before older days are folded, for the order of locks.
    perform copperplate.release_all_spending(v_reserved);
    perform copperplate.fold_budgets(p_limit);
    return v_swept;
end;
$$;

comment on function public.sweep_generations(integer, interval) is
'Fail generations whose lease ran out longer than p_horizon ago; at most p_limit; answers how many. Beside it, credits
held for generations that nobody works on are released, and old requests, wishes, ids of batches and CDN purges
forgotten, twenty times as many.';
revoke all on function public.sweep_generations(integer, interval) from public, anon, authenticated;
grant execute on function public.sweep_generations(integer, interval) to service_role;

create function public.cleanup_old_generation_status(p_limit integer default 1000)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_removed bigint;
begin
    -- Failures stay for the day in which their attempts are counted. A completed generation always has
    -- entries and goes with the last of them.
    with done as (
        select g.prompt_hash
        from public.generation_status as g
        where
            g.status = 'failed' and g.retry_at < copperplate.clock()
            and g.window_started_at < copperplate.clock() - interval '1 day'
            -- A paid job stays known for as long as its result may be kept, a day at most (docs/states.md).
            and (g.noted_at is null or g.noted_at < copperplate.clock() - interval '1 day')
            and g.pinned_at is null
        limit p_limit
        for update skip locked
    )

    delete from public.generation_status as g
    using done as d
    where g.prompt_hash = d.prompt_hash;
    get diagnostics v_removed = row_count;
    return jsonb_build_object('generations', v_removed);
end;
$$;

comment on function public.cleanup_old_generation_status(integer) is
'Remove failures whose day is over; at most p_limit; answers counts.';
revoke all on function public.cleanup_old_generation_status(integer) from public, anon, authenticated;
grant execute on function public.cleanup_old_generation_status(integer) to service_role;
