-- Deletion of a user: no row names them afterwards, and every sum stays.

create function public.forget_user(p_user uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account uuid;
begin
    perform copperplate.note_forgotten('user:' || p_user);
    perform copperplate.forget_reserved('user:' || p_user);
    update copperplate.accounts as a set user_id = null where a.user_id = p_user
    returning a.id into v_account;
    delete from copperplate.user_requests as q where q.account_id = v_account;
    perform copperplate.forget_wishes_of(p_user);
    perform copperplate.forget_sources_of(p_user);
    perform copperplate.forget_budget('user:' || p_user);
    return v_account is not null;
end;
$$;

comment on function public.forget_user(uuid) is
'Take a user''s name off their account and off pictures they brought, and remove their requests, wishes and batches; the
ledger stays, of an account that is nobody''s. False where there is no such account. Their budget has no room from then
on, whatever token is still good. Runs by itself when a row of auth.users is deleted.';
revoke all on function public.forget_user(uuid) from public, anon, authenticated;
grant execute on function public.forget_user(uuid) to service_role;

-- Deleted by Supabase Auth, whose role has no business in our schema: it runs with its owner's rights, and can do
-- nothing but forget that very user. Where it fails, so does the deletion, which can then be tried again: a deletion
-- that passed over the fault would leave a name here that nobody is ever going to take off.
create function copperplate.note_user_deleted()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform public.forget_user(old.id);
    return null;
end;
$$;

comment on function copperplate.note_user_deleted() is 'Forgets a user whom Supabase Auth deletes.';
revoke all on function copperplate.note_user_deleted() from public, anon, authenticated, service_role;

-- A Postgres without Supabase Auth has no users of its own; there `forget_user` is called by whoever has them.
do $$
begin
    if to_regclass('auth.users') is null then
        return;
    end if;
    create trigger copperplate_user_deleted
    after delete on auth.users
    for each row execute function copperplate.note_user_deleted();
    -- Auth can also keep the row and mark it.
    create trigger copperplate_user_marked_deleted
    after update of deleted_at on auth.users
    for each row
    when (new.deleted_at is not null)
    execute function copperplate.note_user_deleted();
end
$$;
