-- Where pictures live on Supabase. Policies there are none, on purpose: a public bucket is read without
-- any, through its public addresses, and only service_role, which row-level security does not bind, writes. A private
-- bucket is read by nobody else either, but through addresses that are signed for a while.
-- A Postgres without Supabase Storage keeps its pictures in a folder and has nothing to do here.
create function copperplate.make_buckets()
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if to_regclass('storage.buckets') is null then
        return;
    end if;
    insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
    select
        k.bucket,
        k.bucket,
        k.is_public,
        k.max_bytes,
        array['image/jpeg', 'image/png', 'image/webp', 'image/avif']
        -- What is to be processed may be uploaded to it directly: see POST /api/process/uploads.
        || case when k.is_public then '{}'::text[] else array['image/gif'] end
    from copperplate.kinds as k
    -- A bucket that is there is somebody's: a private one must not become public behind their back.
    on conflict (id) do nothing;
end;
$$;

comment on function copperplate.make_buckets() is
'Make the buckets of all kinds that are not there; does nothing where there is no Supabase Storage.
Only for the owner of the schema.';
revoke all on function copperplate.make_buckets() from public, anon, authenticated, service_role;

create function copperplate.note_kind_added()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    perform copperplate.make_buckets();
    return null;
end;
$$;

comment on function copperplate.note_kind_added() is 'Makes the bucket of a kind that a later migration adds.';
revoke all on function copperplate.note_kind_added() from public, anon, authenticated, service_role;

create trigger kinds_added
after insert on copperplate.kinds
for each statement execute function copperplate.note_kind_added();

select copperplate.make_buckets();
