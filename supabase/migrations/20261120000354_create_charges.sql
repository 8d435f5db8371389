-- Charges of a generation: reserved with its lead, settled with its picture.

create function copperplate.release_for(p_generation_key text, p_accounts uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_over uuid[];
begin
    -- Waited for, not skipped: a sweep that holds one of them is about to release it, and its credit is needed here.
    -- State and time stand outside the subquery, so that they are read again after the wait: a takeover renewed them.
    v_over := array(
        select r.id
        from copperplate.reservations as r
        where
            r.state = 'held' and r.expires_at < copperplate.clock()
            and r.id in (
                select k.id
                from copperplate.reservations as k
                where k.generation_key = p_generation_key and k.state = 'held'
                union all
                select l.id
                from copperplate.reservations as l
                where
                    l.account_id = any(p_accounts) and l.state = 'held' and l.expires_at < v_now
                    and copperplate.is_lapsed(l)
            )
        order by r.id
        for update of r
    );
    if v_over = '{}' then
        return;
    end if;
    -- The accounts that are charged next as well, in one order with those that get something back.
    perform from copperplate.accounts as a
    where
        a.id = any(p_accounts)
        or a.id in (select r.account_id from copperplate.reservations as r where r.id = any(v_over))
    order by a.id
    for no key update;
    perform copperplate.release_all(v_over);
end;
$$;

comment on function copperplate.release_for(text, uuid[]) is
'Before a reservation is made: release what lapsed of these accounts, and what was held too long for this generation,
whose lease is the caller''s by now.';
revoke all on function copperplate.release_for(text, uuid[]) from public, anon, authenticated;
grant execute on function copperplate.release_for(text, uuid[]) to service_role;

create function copperplate.inherit_charges(p_generation_key text, p_charges jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_is_held boolean;
    v_has_lapsed boolean;
begin
    -- Hardly ever is there anything to inherit or to release, and one look is cheaper than writing nothing.
    select
        exists (
            select from copperplate.reservations as k
            where k.generation_key = p_generation_key and k.state = 'held'
        ),
        exists (
            select from copperplate.accounts as a
            inner join copperplate.reservations as l on a.id = l.account_id
            where
                a.user_id = any(array(select c.user_id from jsonb_to_recordset(p_charges) as c (user_id uuid)))
                and l.state = 'held' and l.expires_at < v_now
        )
    into v_is_held, v_has_lapsed;

    if v_is_held then
        -- Written and not only looked at: a sweep that is about to release it has either done so when this returns, or
        -- finds that it may not. `is true` keeps the index by time out: of a table without statistics it would be read
        -- to its end.
        update copperplate.reservations as r
        set expires_at = v_now + interval '15 minutes'
        where r.generation_key = p_generation_key and r.state = 'held' and (r.expires_at >= v_now) is true;
        if found then
            return true;
        end if;
    end if;
    if v_is_held or v_has_lapsed then
        perform copperplate.release_for(p_generation_key, array(
            select a.id
            from copperplate.accounts as a
            where a.user_id = any(array(select c.user_id from jsonb_to_recordset(p_charges) as c (user_id uuid)))
        ));
    end if;
    return false;
end;
$$;

comment on function copperplate.inherit_charges(text, jsonb) is
'Whether a takeover inherits what the first leader reserved, within its time. If not, what lapsed of the payers is
released, and what was held too long for this generation.';
revoke all on function copperplate.inherit_charges(text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.inherit_charges(text, jsonb) to service_role;

create function copperplate.can_pay(p_generation_key text, p_charges jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- By a look, so that who cannot pay writes nothing. Lapsed credits are summed only where they are needed.
    return not exists (
        select from (
            select c.user_id, sum(c.amount) as amount
            from jsonb_to_recordset(p_charges) as c (kind text, user_id uuid, amount bigint)
            where c.kind = 'credit'
            group by c.user_id
        ) as c
        left join copperplate.accounts as a on c.user_id = a.user_id
        where
            (a.balance - a.held >= c.amount) is not true
            and (a.balance - a.held + copperplate.lapsed_credits(a.id) >= c.amount) is not true
    ) or exists (
        -- Inherited: its predecessor paid.
        select from copperplate.reservations as k
        where k.generation_key = p_generation_key and k.state = 'held' and k.expires_at >= copperplate.clock()
    );
end;
$$;

comment on function copperplate.can_pay(text, jsonb) is
'Whether a look finds enough credits for these charges, lapsed ones included, or that they are inherited.';
revoke all on function copperplate.can_pay(text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.can_pay(text, jsonb) to service_role;

create function copperplate.reserve_charges(p_generation_key text, p_charges jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_charge record;
    v_account uuid;
begin
    if copperplate.inherit_charges(p_generation_key, p_charges) then
        return;
    end if;
    for v_charge in
        select c.kind, c.user_id, c.amount
        from jsonb_to_recordset(p_charges) as c (kind text, user_id uuid, amount bigint)
    loop
        if v_charge.kind is distinct from 'credit' then
            raise exception 'unknown kind of charge' using errcode = 'ZC005', hint = 'Known kinds: credit.';
        end if;
        -- Read and written in one: of two that want the last credit, one finds it gone.
        update copperplate.accounts as a
        set held = a.held + v_charge.amount
        where a.user_id = v_charge.user_id and a.balance - a.held >= v_charge.amount
        returning a.id into v_account;
        if not found then
            raise exception 'not enough credits' using errcode = 'ZC008', hint = 'Grant some, or wait.';
        end if;
        insert into copperplate.reservations (generation_key, kind, account_id, amount, created_at, expires_at)
        select g.prompt_hash, g.kind, v_account, v_charge.amount, v_now, v_now + interval '15 minutes'
        from public.generation_status as g
        where g.prompt_hash = p_generation_key;
    end loop;
end;
$$;

comment on function copperplate.reserve_charges(text, jsonb) is
'Reserve what a new leader is charged, [{kind, user_id, amount}], unless a predecessor did; what lapsed of the payers is
released first. ZC008 where an account cannot pay.';
revoke all on function copperplate.reserve_charges(text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.reserve_charges(text, jsonb) to service_role;

create function copperplate.settle_reservation(p_generation_key text, p_url text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_reservation copperplate.reservations;
begin
    update copperplate.reservations as r
    set state = 'settled', closed_at = v_now, generated_url = p_url
    where r.generation_key = p_generation_key and r.state = 'held'
    returning r.* into v_reservation;
    if not found then
        return;
    end if;

    update copperplate.accounts as a
    set balance = a.balance - v_reservation.amount, held = a.held - v_reservation.amount
    where a.id = v_reservation.account_id;
    insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
    values (v_reservation.account_id, -v_reservation.amount, 'settle', v_reservation.id, v_now);
end;
$$;

comment on function copperplate.settle_reservation(text, text) is
'The picture is stored: what its generation reserved is taken from the account, once.';
revoke all on function copperplate.settle_reservation(text, text) from public, anon, authenticated;
grant execute on function copperplate.settle_reservation(text, text) to service_role;
