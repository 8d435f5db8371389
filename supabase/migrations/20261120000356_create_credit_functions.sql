-- What operators and the server call about credits.

create function public.get_credits(p_user uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'balance', coalesce(max(a.balance), 0),
        'held', coalesce(max(a.held - l.credits), 0),
        'available', coalesce(max(a.balance - a.held + l.credits), 0)
    )
    from copperplate.accounts as a
    cross join lateral copperplate.lapsed_credits(a.id) as l (credits)
    where a.user_id = p_user;
$$;

comment on function public.get_credits(uuid) is
'What a user has: balance, held by generations under way, and available, the rest. Zero for a user nobody granted any.';
revoke all on function public.get_credits(uuid) from public, anon, authenticated;
grant execute on function public.get_credits(uuid) to service_role;

create function public.grant_credits(p_user uuid, p_amount bigint, p_ref text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account uuid;
begin
    if (p_amount between 1 and 1000000000 and length(p_ref) between 1 and 200) is not true then
        raise exception 'not a grant'
            using errcode = 'ZC009', hint = 'Grant 1 to 1000000000 credits, with a reference of 1 to 200 characters.';
    elsif strpos(replace(lower(p_ref), '-', ''), replace(p_user::text, '-', '')) > 0 then
        -- The ledger is kept when the user is forgotten.
        raise exception 'the reference names the user'
            using errcode = 'ZC009', hint = 'Use the number of an order, or whatever else says nothing of a person.';
    end if;
    v_account := copperplate.open_account(p_user);

    -- The ledger's row first: of two that give the same reference, the second waits here and finds it.
    insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
    values (v_account, p_amount, 'grant', p_ref, copperplate.clock())
    on conflict (kind, ref) do nothing;
    if found then
        update copperplate.accounts as a set balance = a.balance + p_amount where a.id = v_account;
    elsif not exists (
        select from copperplate.credit_ledger as l
        where l.kind = 'grant' and l.ref = p_ref and l.account_id = v_account and l.delta = p_amount
    ) then
        raise exception 'this reference stands for another grant'
            using errcode = 'ZC009', hint = 'Give every grant a reference of its own.';
    end if;
    return public.get_credits(p_user);
end;
$$;

comment on function public.grant_credits(uuid, bigint, text) is
'Give a user credits, once per reference; answers what get_credits answers.';
revoke all on function public.grant_credits(uuid, bigint, text) from public, anon, authenticated;
grant execute on function public.grant_credits(uuid, bigint, text) to service_role;

create function public.refund_credits(p_reservation uuid)
returns boolean
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.give_back(p_reservation);
$$;

comment on function public.refund_credits(uuid) is
'Give a reservation''s credits back, once; false where its picture was delivered, or there is no such reservation.';
revoke all on function public.refund_credits(uuid) from public, anon, authenticated;
grant execute on function public.refund_credits(uuid) to service_role;
