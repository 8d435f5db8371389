-- Care: nothing that correctness needs, everything bounded, any number of callers at once.

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
begin
    -- Nobody has asked since the leader died, or a follower would have taken over. What is known of
    -- its job is kept: the next one to ask collects it.
    with expired as (
        select g.prompt_hash
        from public.generation_status as g
        where g.status in ('pending', 'generating') and g.lease_until < copperplate.clock() - p_horizon
        limit p_limit
        for update skip locked
    )

    update public.generation_status as g
    set
        status = 'failed', error_class = 'abandoned', error_message = 'the leader died and nobody asked again',
        retry_at = copperplate.clock(), leader = null, lease_until = null, updated_at = copperplate.clock()
    from expired as e
    where g.prompt_hash = e.prompt_hash;
    get diagnostics v_swept = row_count;

    perform copperplate.release_expired(p_limit);
    -- Small, and one or more for each request of a signed-in person: a caller that sweeps once a day is to keep up.
    perform copperplate.forget_old_requests(20 * p_limit);
    perform copperplate.forget_old_batches(20 * p_limit);
    perform copperplate.fold_totals();
    perform copperplate.fold_money();
    return v_swept;
end;
$$;

comment on function public.sweep_generations(integer, interval) is
'Fail generations whose lease ran out longer than p_horizon ago; at most p_limit; answers how many. Beside it, credits
held for generations that nobody works on are released, and old requests and ids of batches forgotten, twenty times as many.';

create function public.cleanup_old_cache_entries(
    p_older_than interval default '30 days', p_limit integer default 1000, p_after text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_cutoff timestamptz := copperplate.clock() - p_older_than;
    -- A place is the time and the key of an entry.
    v_after timestamptz := coalesce(nullif(split_part(p_after, ' ', 1), '')::timestamptz, '-infinity');
    v_after_key text := coalesce(split_part(p_after, ' ', 2), '');
    v_reached text;
    v_keys text[];
    v_images bigint;
    v_bytes bigint;
    v_generations bigint;
begin
    -- Old pictures that are still in use stay before the oldest that are not: whoever began anew with each call
    -- would look at all of them again and again.
    if p_after is not null then
        v_reached := (
            select (to_jsonb(e.created_at) #>> '{}') || ' ' || e.key
            from copperplate.cache_entries as e
            where e.created_at < v_cutoff and (e.created_at, e.key) > (v_after, v_after_key)
            order by e.created_at, e.key
            offset p_limit - 1
            limit 1
        );
    end if;

    -- Lock the generations first, in the same step that picks them: whoever cleans beside us takes other rows,
    -- and what somebody works on is left alone. Originals without renditions age by their own date.
    v_keys := array(
        select g.prompt_hash
        from (
            select c.*
            from copperplate.cache_entries as c
            where c.created_at < v_cutoff and (c.created_at, c.key) > (v_after, v_after_key)
            order by c.created_at, c.key
            limit case when p_after is not null then p_limit end
        ) as e
        inner join public.generation_status as g on e.generation_key = g.prompt_hash
        where
            e.kind = 'image' and e.last_accessed_at < v_cutoff
            and (
                not e.is_original
                -- Not "not exists": the planner would hash every rendition there is before the first row.
                or (
                    select r.key
                    from copperplate.cache_entries as r
                    where r.generation_key = e.generation_key and not r.is_original
                    limit 1
                ) is null
            )
        order by e.created_at
        limit p_limit
        for update of g skip locked
    );

    with gone as (
        delete from copperplate.cache_entries as e
        where e.generation_key = any(v_keys) and not e.is_original and e.last_accessed_at < v_cutoff
        returning e.file_size
    )

    select count(*), coalesce(sum(gone.file_size), 0) into v_images, v_bytes from gone;

    -- An original outlives its renditions: it goes with the last of them, and the generation with it.
    with bare as (
        select o.generation_key, o.file_size
        from copperplate.cache_entries as o
        where
            o.generation_key = any(v_keys) and o.is_original and o.last_accessed_at < v_cutoff
            and not exists (
                select from copperplate.cache_entries as r
                where r.generation_key = o.generation_key and not r.is_original
            )
    ),

    gone as (
        delete from public.generation_status as g
        using bare as b
        where g.prompt_hash = b.generation_key
        returning b.file_size
    )

    select count(*), v_bytes + coalesce(sum(gone.file_size), 0) into v_generations, v_bytes from gone;

    return jsonb_build_object('images', v_images, 'generations', v_generations, 'bytes', v_bytes)
        || case when p_after is null then '{}'::jsonb else jsonb_build_object('reached', v_reached) end;
end;
$$;

comment on function public.cleanup_old_cache_entries(interval, integer, text) is
'Remove cached pictures not served for p_older_than (30 days); at most p_limit generations a call; answers counts.
Call it again while it answers more than zero. With p_after, empty at first, it looks at p_limit entries from there on
and answers where it has come to as reached, null at the end.';

create function public.count_old_cache_entries(p_older_than interval default '30 days')
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'images', count(*) filter (where not e.is_original),
        'generations', count(*) filter (where e.is_original),
        'bytes', coalesce(sum(e.file_size), 0)
    )
    from copperplate.cache_entries as e
    where
        e.kind = 'image' and e.created_at < copperplate.clock() - p_older_than
        and e.last_accessed_at < copperplate.clock() - p_older_than
        -- An original stays while any picture made from it does.
        and (
            not e.is_original
            or not exists (
                select from copperplate.cache_entries as r
                where
                    r.generation_key = e.generation_key and not r.is_original
                    and r.last_accessed_at >= copperplate.clock() - p_older_than
            )
        );
$$;

comment on function public.count_old_cache_entries(interval) is
'What cleanup_old_cache_entries would remove by and by, as the same counts; changes nothing.';

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

create function public.purge_entries(
    p_generation_key text default null,
    p_prompt text default null,
    p_key_prefix text default null,
    p_model text default null,
    p_older_than interval default null,
    p_dry_run boolean default true,
    p_limit integer default 1000
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[];
    v_answer jsonb;
begin
    if coalesce(p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than::text) is null then
        raise exception 'purge_entries needs at least one condition'
            using errcode = 'ZC006', hint = 'Name a key, a prompt, a prefix of the key, a model or an age.';
    elsif '' = any(array[p_generation_key, p_prompt, p_key_prefix, p_model]) then
        -- Every key begins with nothing: a variable that was never set must not empty the cache.
        raise exception 'a condition of purge_entries is empty'
            using errcode = 'ZC006', hint = 'Leave it out, or say what it must be.';
    end if;

    v_keys := array(
        select g.prompt_hash
        from public.generation_status as g
        where
            (
                p_generation_key is null
                or g.prompt_hash = p_generation_key
                -- People hold the key of a picture: X-Copperplate-Key, prompt_hash in public.image_cache.
                or g.prompt_hash = (select e.generation_key from copperplate.cache_entries as e where e.key = p_generation_key)
            )
            and (p_prompt is null or g.prompt = copperplate.fold_text(p_prompt))
            and (p_key_prefix is null or starts_with(g.prompt_hash, p_key_prefix))
            and (p_model is null or g.model = p_model)
            and (p_older_than is null or g.created_at < copperplate.clock() - p_older_than)
        order by g.prompt_hash
        limit p_limit
    );

    select
        jsonb_build_object(
            'dry_run', p_dry_run, 'generations', cardinality(v_keys),
            'images', count(*) filter (where not e.is_original), 'bytes', coalesce(sum(e.file_size), 0)
        )
        || case
            when p_dry_run then '{}'::jsonb
            else jsonb_build_object(
                'keys', v_keys,
                'objects', coalesce(jsonb_agg(jsonb_build_array(e.bucket, e.path) order by e.key) filter (where e.key is not null), '[]')
            )
        end
    into v_answer
    from copperplate.cache_entries as e
    where e.generation_key = any(v_keys);

    if not p_dry_run then
        perform from public.generation_status as g
        where g.prompt_hash = any(v_keys)
        order by g.prompt_hash
        for update;
        delete from public.generation_status as g where g.prompt_hash = any(v_keys);
    end if;
    return v_answer;
end;
$$;

comment on function public.purge_entries(text, text, text, text, interval, boolean, integer) is
'Declare pictures wrong: remove the generations that meet every condition given; answers counts, their keys and
their objects. A dry run only counts.';

create function public.claim_discarded(p_limit integer default 100, p_grace interval default '1 hour')
returns table (id bigint, bucket text, path text)
language sql
volatile
security invoker
set search_path = ''
as $$
    update copperplate.discarded_objects as d
    set claimed_until = copperplate.clock() + interval '5 minutes'
    where d.id in (
        select o.id
        from copperplate.discarded_objects as o
        where
            o.discarded_at < copperplate.clock() - p_grace
            and (o.claimed_until is null or o.claimed_until < copperplate.clock())
            -- Never an object that a row needs after all. Row by row, not "not exists": once the planner takes a table
            -- for empty it would read all of it first, and a large cleanup leaves it far from empty on disk.
            and not coalesce((
                select true from copperplate.cache_entries as e
                where e.bucket = o.bucket and e.path = o.path
                limit 1
            ), false)
            and not coalesce((
                select true from public.generation_status as g
                where g.prompt_hash = o.generation_key and g.intent ->> 'path' = o.path
                limit 1
            ), false)
        order by o.id
        limit p_limit
        for update skip locked
    )
    returning d.id, d.bucket, d.path;
$$;

comment on function public.claim_discarded(integer, interval) is
'Reserve objects whose grace is over for five minutes, to remove them from the store and then forget them.';

create function public.forget_discarded(p_ids bigint[])
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_forgotten integer;
begin
    delete from copperplate.discarded_objects as d where d.id = any(p_ids);
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end;
$$;

comment on function public.forget_discarded(bigint[]) is
'The store has removed these objects; answers how many rows went.';

revoke all on function public.sweep_generations(integer, interval) from public, anon, authenticated;
revoke all on function public.cleanup_old_cache_entries(interval, integer, text) from public, anon, authenticated;
revoke all on function public.count_old_cache_entries(interval) from public, anon, authenticated;
revoke all on function public.cleanup_old_generation_status(integer) from public, anon, authenticated;
revoke all on function public.purge_entries(text, text, text, text, interval, boolean, integer)
from public, anon, authenticated;
revoke all on function public.claim_discarded(integer, interval) from public, anon, authenticated;
revoke all on function public.forget_discarded(bigint[]) from public, anon, authenticated;

grant execute on function public.sweep_generations(integer, interval) to service_role;
grant execute on function public.cleanup_old_cache_entries(interval, integer, text) to service_role;
grant execute on function public.count_old_cache_entries(interval) to service_role;
grant execute on function public.cleanup_old_generation_status(integer) to service_role;
grant execute on function public.purge_entries(text, text, text, text, interval, boolean, integer) to service_role;
grant execute on function public.claim_discarded(integer, interval) to service_role;
grant execute on function public.forget_discarded(bigint[]) to service_role;
