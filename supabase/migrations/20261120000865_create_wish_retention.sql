-- How long wishes, batches and tokens are kept.

create function copperplate.forget_old_wishes(p_limit integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    perform copperplate.abandon_wishes(p_limit);
    delete from copperplate.wishes as w
    where w.id = any(array(
        select o.id
        from copperplate.wishes as o
        where o.forget_at is not null and o.batch_id is null and o.forget_at <= v_now
        order by o.forget_at
        limit p_limit
        for update skip locked
    ));
    -- Whole, so that its counts and the order of its members hold for as long as it is known: a thousand rows at most.
    delete from copperplate.batches as b
    where b.id = any(array(
        select o.id
        from copperplate.batches as o
        where
            o.created_at <= v_now - interval '7 days'
            and not exists (
                select from copperplate.wishes as w
                where w.batch_id = o.id and (w.forget_at is null or w.forget_at > v_now)
            )
        order by o.created_at
        limit greatest(p_limit / 100, 1)
        for update skip locked
    ));
    delete from copperplate.event_tokens as t
    where (t.subject, t.digest) in (
        select o.subject, o.digest
        from copperplate.event_tokens as o
        where o.expires_at <= v_now
        order by o.expires_at
        limit p_limit
        for update skip locked
    );
end;
$$;

comment on function copperplate.forget_old_wishes(integer) is
'Fail wishes that stayed open for a day; remove single ones that are settled long enough, batches whole whose members
all are, and tokens that expired: at most p_limit of each, and of batches a hundredth.';
revoke all on function copperplate.forget_old_wishes(integer) from public, anon, authenticated;
grant execute on function copperplate.forget_old_wishes(integer) to service_role;

create function copperplate.forget_wishes_of(p_user uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_owner text := 'user:' || p_user;
begin
    with removed as (
        delete from copperplate.wishes as w
        where w.owner = v_owner and w.owner like 'user:%'
        returning w.generation_key
    ),

    gone as (
        delete from copperplate.batches as b
        where b.owner = v_owner
        returning b.id
    )

    delete from copperplate.event_tokens as t
    using (
        select r.generation_key as subject from removed as r
        union all
        select g.id::text from gone as g
    ) as s
    where t.subject = s.subject;
end;
$$;

comment on function copperplate.forget_wishes_of(uuid) is
'Remove the wishes and batches of a user, and the tokens to watch them.';
revoke all on function copperplate.forget_wishes_of(uuid) from public, anon, authenticated;
grant execute on function copperplate.forget_wishes_of(uuid) to service_role;
