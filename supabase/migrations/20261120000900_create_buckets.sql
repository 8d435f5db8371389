-- Where pictures live on Supabase. Policies there are none, on purpose: a public bucket is read without
-- any, through its public addresses, and only service_role, which row-level security does not bind, writes.
-- A Postgres without Supabase Storage keeps its pictures in a folder and has nothing to do here.
do $$
begin
    if to_regclass('storage.buckets') is null then
        return;
    end if;
    insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
    select k.bucket, k.bucket, k.is_public, k.max_bytes, array['image/jpeg', 'image/png', 'image/webp']
    from copperplate.kinds as k
    -- A bucket that is there is somebody's: a private one must not become public behind their back.
    on conflict (id) do nothing;
end
$$;
