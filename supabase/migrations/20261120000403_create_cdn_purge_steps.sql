-- The steps of CDN purges: take what is due, and settle it.

create function copperplate.merge_cdn_purges(p_ids bigint[], p_now timestamptz)
returns bigint[]
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_ids bigint[];
begin
    with merged as (
        delete from copperplate.cdn_purges as p where p.id = any(p_ids)
        returning p.scope, p.bucket, p.declared_at, p.tries
    ),

    added as (
        -- All of them are seen now, and none of them sooner.
        insert into copperplate.cdn_purges (scope, bucket, declared_at, seen_at, tries, due_at)
        select m.scope, m.bucket, max(m.declared_at), p_now, max(m.tries), p_now
        from merged as m
        group by m.scope, m.bucket
        returning id
    )

    select array_agg(a.id) into v_ids from added as a;
    return v_ids;
end;
$$;

comment on function copperplate.merge_cdn_purges(bigint[], timestamptz) is
'Put purges of everything, or of whole buckets, in the place of these, which the caller has locked; answers their ids.';
revoke all on function copperplate.merge_cdn_purges(bigint[], timestamptz) from public, anon, authenticated;
grant execute on function copperplate.merge_cdn_purges(bigint[], timestamptz) to service_role;

create function copperplate.lock_due_cdn_purges(p_scope text, p_limit integer, p_now timestamptz)
returns bigint[]
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_ids bigint[];
    v_whole bigint;
begin
    v_ids := array(
        select p.id
        from copperplate.cdn_purges as p
        where p.scope = p_scope and p.due_at <= p_now
        order by p.due_at
        -- What is more is merged by the next calls: a call stays well below the database's time limit.
        limit 5000
        for update skip locked
    );
    select count(*)
    into v_whole
    from copperplate.cdn_purges as p
    where p.id = any(v_ids) and p.generation_key is null and p.path is null;
    -- One of everything stands for all others.
    if
        cardinality(v_ids) > greatest(p_limit, v_whole)
        or (p_scope = 'tag' and v_whole > 0 and cardinality(v_ids) > 1)
    then
        return copperplate.merge_cdn_purges(v_ids, p_now);
    end if;
    return v_ids;
end;
$$;

comment on function copperplate.lock_due_cdn_purges(text, integer, timestamptz) is
'The ids of due purges, locked. More than p_limit are merged into everything, or into their whole buckets.';
revoke all on function copperplate.lock_due_cdn_purges(text, integer, timestamptz) from public, anon, authenticated;
grant execute on function copperplate.lock_due_cdn_purges(text, integer, timestamptz) to service_role;

create function copperplate.drop_ended_cdn_purges(p_scopes text[], p_lifetime interval, p_now timestamptz)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_dropped integer;
begin
    delete from copperplate.cdn_purges as p
    where p.id in (
        select o.id
        from copperplate.cdn_purges as o
        where o.scope = any(p_scopes) and o.due_at <= p_now and o.seen_at < p_now - p_lifetime
        limit 5000
        for update skip locked
    );
    get diagnostics v_dropped = row_count;
    return v_dropped;
end;
$$;

comment on function copperplate.drop_ended_cdn_purges(text[], interval, timestamptz) is
'Forget purges that were seen longer ago than a copy lives, and are not being made; answers how many.';
revoke all on function copperplate.drop_ended_cdn_purges(text[], interval, timestamptz)
from public, anon, authenticated;
grant execute on function copperplate.drop_ended_cdn_purges(text[], interval, timestamptz) to service_role;

create function copperplate.claimed_discarded_objects(p_claim uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(distinct jsonb_build_array(d.bucket, d.path)), '[]')
    from copperplate.cdn_purges as p
    inner join copperplate.discarded_objects as d on p.bucket = d.bucket and p.path = d.path
    where
        p.claim = p_claim
        -- As in claim_discarded: never an object that a row needs after all.
        and not coalesce((
            select true from copperplate.cache_entries as e
            where e.bucket = d.bucket and e.path = d.path
            limit 1
        ), false)
        and not coalesce((
            select true from public.generation_status as g
            where g.prompt_hash = d.generation_key and g.intent ->> 'path' = d.path
            limit 1
        ), false);
$$;

comment on function copperplate.claimed_discarded_objects(uuid) is
'Of the objects that are taken under this claim those that no row needs any more: [[bucket, path]]. Of others only the
copies are wrong.';
revoke all on function copperplate.claimed_discarded_objects(uuid) from public, anon, authenticated;
grant execute on function copperplate.claimed_discarded_objects(uuid) to service_role;

create function copperplate.claimed_cdn_purges(p_claim uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'keys',
        coalesce(jsonb_agg(distinct p.generation_key) filter (where p.generation_key is not null), '[]'),
        'is_everything', coalesce(bool_or(p.scope = 'tag' and p.generation_key is null), false),
        'objects',
        coalesce(jsonb_agg(distinct jsonb_build_array(p.bucket, p.path)) filter (where p.scope = 'object'), '[]'),
        'discarded', copperplate.claimed_discarded_objects(p_claim)
    )
    from copperplate.cdn_purges as p
    where p.claim = p_claim;
$$;

comment on function copperplate.claimed_cdn_purges(uuid) is
'What is taken under this claim: {keys, is_everything, objects: [[bucket, path]], discarded}, the last as objects: see
claimed_discarded_objects.';
revoke all on function copperplate.claimed_cdn_purges(uuid) from public, anon, authenticated;
grant execute on function copperplate.claimed_cdn_purges(uuid) to service_role;

create function public.take_cdn_purges(
    p_scopes text[], p_claim uuid, p_limit integer, p_held_for interval, p_lifetime interval
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_dropped integer;
    v_ids bigint[];
begin
    v_dropped := copperplate.drop_ended_cdn_purges(p_scopes, p_lifetime, v_now);
    -- A statement of its own: the next one is to see what was merged.
    v_ids := array(
        select l.id
        from unnest(p_scopes) as s (scope)
        cross join lateral unnest(copperplate.lock_due_cdn_purges(s.scope, p_limit, v_now)) as l (id)
    );
    update copperplate.cdn_purges as p
    set
        claim = p_claim, due_at = v_now + p_held_for, seen_at = coalesce(p.seen_at, v_now), tried_at = v_now,
        tries = p.tries + 1
    where p.id = any(v_ids);
    -- A call that is repeated answers what the first one took, too.
    return copperplate.claimed_cdn_purges(p_claim) || jsonb_build_object('dropped', v_dropped);
end;
$$;

comment on function public.take_cdn_purges(text[], uuid, integer, interval, interval) is
'Take the CDN purges that are due of these scopes (tag, object), under a claim that the caller makes up; for p_held_for
nobody else takes them. Answers {keys, is_everything, objects: [[bucket, path]], discarded, dropped}: more than p_limit
of a scope are everything, or their whole buckets (path null); discarded are those of the objects that no row needs any
more, which alone may leave the store; dropped is how many were given up, as they were first seen longer ago than
p_lifetime, as long as a copy lives.';
revoke all on function public.take_cdn_purges(text[], uuid, integer, interval, interval)
from public, anon, authenticated;
grant execute on function public.take_cdn_purges(text[], uuid, integer, interval, interval) to service_role;

create function public.settle_cdn_purges(p_claim uuid, p_scope text, p_is_done boolean)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- For three seconds after it was declared wrong a picture may still be answered from a tier, into a CDN that was
    -- purged at once; and then its answer may be on its way.
    c_last constant interval := interval '10 seconds';
    v_now timestamptz := copperplate.clock();
    v_left integer;
begin
    delete from copperplate.cdn_purges as p
    where p.claim = p_claim and p.scope = p_scope and p_is_done and p.tried_at >= p.seen_at + c_last;
    update copperplate.cdn_purges as p
    set
        claim = null,
        tries = case when p_is_done then 0 else p.tries end,
        due_at = case
            when p_is_done then p.seen_at + c_last
            else v_now + least(interval '5 seconds' * 2 ^ least(p.tries - 1, 10), interval '5 minutes')
        end
    where p.claim = p_claim and p.scope = p_scope;
    get diagnostics v_left = row_count;
    return v_left;
end;
$$;

comment on function public.settle_cdn_purges(uuid, text, boolean) is
'The CDN was told of what this claim took of a scope, or could not be told: that is due again after 5 seconds, then
twice as long each time, five minutes at most. What it was told of less than 10 seconds after it was first seen is told
once more then. Answers how many are left for that.';
revoke all on function public.settle_cdn_purges(uuid, text, boolean) from public, anon, authenticated;
grant execute on function public.settle_cdn_purges(uuid, text, boolean) to service_role;
