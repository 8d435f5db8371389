-- Credits that go back to their account: what failed, lapsed, or was gone before it was delivered.

create function copperplate.give_back(p_reservation uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_before copperplate.reservations;
begin
    select r.* into v_before
    from copperplate.reservations as r
    where r.id = p_reservation
    for update;
    if v_before.state is null or v_before.delivered_at is not null then
        return false;
    elsif v_before.state in ('released', 'refunded') then
        return true;
    end if;

    update copperplate.reservations as r
    set state = case v_before.state when 'held' then 'released' else 'refunded' end, closed_at = v_now
    where r.id = p_reservation;
    if v_before.state = 'held' then
        update copperplate.accounts as a
        set held = a.held - v_before.amount
        where a.id = v_before.account_id;
    else
        update copperplate.accounts as a
        set balance = a.balance + v_before.amount
        where a.id = v_before.account_id;
        insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
        values (v_before.account_id, v_before.amount, 'refund', p_reservation, v_now);
    end if;
    return true;
end;
$$;

comment on function copperplate.give_back(uuid) is
'Release what is held, refund what was settled and not delivered; false where it was delivered, or there is no such
reservation. A repeat answers the same and changes nothing.';
revoke all on function copperplate.give_back(uuid) from public, anon, authenticated;
grant execute on function copperplate.give_back(uuid) to service_role;

create function copperplate.release_all(p_reservations uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.give_back(o.id)
    from (
        select r.id
        from copperplate.reservations as r
        where r.id = any(p_reservations)
        order by r.account_id, r.id
    ) as o;
end;
$$;

comment on function copperplate.release_all(uuid[]) is
'Give these reservations back, accounts in one order. The caller has locked every one of them.';
revoke all on function copperplate.release_all(uuid[]) from public, anon, authenticated;
grant execute on function copperplate.release_all(uuid[]) to service_role;

create function copperplate.give_back_all(p_generation_keys text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_reservations uuid[];
begin
    -- Every reservation before the first account, and accounts in one order: two of these never wait for each other,
    -- nor does a sweep, which skips the reservations that are locked here.
    v_reservations := array(
        select r.id
        from copperplate.reservations as r
        where
            r.generation_key = any(p_generation_keys)
            and (r.state = 'held' or (r.state = 'settled' and r.delivered_at is null))
        order by r.id
        for update
    );
    if v_reservations <> '{}' then
        perform copperplate.release_all(v_reservations);
    end if;
end;
$$;

comment on function copperplate.give_back_all(text[]) is
'Give back what these generations hold or never delivered: they failed, or are gone.';
revoke all on function copperplate.give_back_all(text[]) from public, anon, authenticated;
grant execute on function copperplate.give_back_all(text[]) to service_role;

create function copperplate.note_pictures_gone(p_generation_keys text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    update copperplate.reservations as r
    set generated_url = null
    where r.generation_key = any(p_generation_keys) and r.generated_url is not null;
    perform copperplate.give_back_all(p_generation_keys);
end;
$$;

comment on function copperplate.note_pictures_gone(text[]) is
'These generations have no picture any more: give back what was never delivered, and forget the addresses.';
revoke all on function copperplate.note_pictures_gone(text[]) from public, anon, authenticated;
grant execute on function copperplate.note_pictures_gone(text[]) to service_role;

create function copperplate.release_expired(p_limit integer)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_expired uuid[];
begin
    v_expired := array(
        select r.id
        from copperplate.reservations as r
        where r.state = 'held' and r.expires_at < copperplate.clock() and copperplate.is_lapsed(r)
        limit p_limit
        for update skip locked
    );
    perform copperplate.release_all(v_expired);
    return cardinality(v_expired);
end;
$$;

comment on function copperplate.release_expired(integer) is
'Release what is held for generations that nobody works on any more; at most p_limit; answers how many.';
revoke all on function copperplate.release_expired(integer) from public, anon, authenticated;
grant execute on function copperplate.release_expired(integer) to service_role;
