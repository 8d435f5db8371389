-- CHANGES sign-ups: whoever signs in anonymously is given credits for three memoji, once. Write your own number.
-- It bounds one stranger; all of them together are bounded by COPPERPLATE_ANONYMOUS_BUDGET_USD (docs/access.md).
-- May be run again: the number is replaced for those who come after. A sign-up fails where the grant does.
create or replace function copperplate.welcome_stranger()
returns trigger
language plpgsql
security definer -- Supabase Auth's role has no business in our schema; this can do nothing but give these credits.
set search_path = ''
as $$
begin
    -- The reference says nothing of the user: the ledger is kept when they are forgotten.
    perform public.grant_credits(new.id, 3, 'welcome ' || gen_random_uuid());
    return null;
end;
$$;

revoke all on function copperplate.welcome_stranger() from public, anon, authenticated, service_role;

create or replace trigger copperplate_stranger_welcomed
after insert on auth.users
for each row
when (new.is_anonymous)
execute function copperplate.welcome_stranger();
