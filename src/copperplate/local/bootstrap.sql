-- Makes a plain Postgres database look like a new Supabase project to migrations and to PostgREST.
-- Run by the superuser supabase_admin; may be repeated. bootstrap.py sets the passwords and
-- copperplate.expose_new_tables.

-- Roles belong to the whole cluster: another database of it may have made them already.
do $$
declare
    role record;
begin
    for role in
        select
            wanted.name,
            wanted.attributes
        from (
            values
            -- No superuser, as on hosted Supabase: what works here works there.
            ('postgres', 'login createdb createrole replication bypassrls'),
            ('anon', 'nologin noinherit'),
            ('authenticated', 'nologin noinherit'),
            ('service_role', 'nologin noinherit bypassrls'),
            -- PostgREST's own role: it may do nothing but become one of the three above.
            ('authenticator', 'login noinherit'),
            ('supabase_auth_admin', 'login noinherit createrole'),
            ('supabase_storage_admin', 'login noinherit createrole')
        ) as wanted (name, attributes)
        where not exists (select from pg_catalog.pg_roles where rolname = wanted.name)
    loop
        execute format('create role %I %s', role.name, role.attributes);
    end loop;
end
$$;

grant anon to authenticator, supabase_storage_admin;
grant authenticated to authenticator, supabase_storage_admin;
grant service_role to authenticator, supabase_storage_admin;
grant authenticator to supabase_storage_admin;
grant anon to postgres with admin option;
grant authenticated to postgres with admin option;
grant service_role to postgres with admin option;

-- service_role has none of its own: PostgREST logs in as authenticator, whose limit stays in force.
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = '$user', public, extensions;
alter role supabase_storage_admin set search_path = storage;

do $$
begin
    execute format('alter database %I owner to postgres', current_database());
    execute format('grant all on database %I to postgres, supabase_storage_admin', current_database());
end
$$;

create schema if not exists extensions authorization postgres;
create schema if not exists auth authorization supabase_auth_admin;
create schema if not exists storage authorization supabase_storage_admin;

grant usage on schema public, extensions, auth, storage to postgres, anon, authenticated, service_role;
grant create on schema public to postgres;

-- Both kinds of project exist: those that hand everything new in public to the API roles, and those
-- that hand out nothing. Migrations must come out the same in either.
do $$
declare
    is_exposed constant boolean not null := current_setting('copperplate.expose_new_tables')::boolean;
    action constant text not null := case when is_exposed then 'grant' else 'revoke' end;
    preposition constant text not null := case when is_exposed then 'to' else 'from' end;
    creator text;
    kind text;
begin
    foreach creator in array array['supabase_admin', 'postgres']
    loop
        foreach kind in array array['tables', 'functions', 'sequences']
        loop
            execute format(
                'alter default privileges for role %I in schema public %s all on %s'
                ' %s postgres, anon, authenticated, service_role',
                creator, action, kind, preposition
            );
        end loop;
    end loop;
end
$$;

-- Each reads the claims in PostgREST's present form and in the one before version 9.
create or replace function auth.uid()
returns uuid
language sql
stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
    )::uuid
$$;

create or replace function auth.role()
returns text
language sql
stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
    )
$$;

create or replace function auth.email()
returns text
language sql
stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.email', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
    )
$$;

create or replace function auth.jwt()
returns jsonb
language sql
stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;

-- The columns that migrations and policies refer to; hosted Supabase has more.
create table if not exists auth.users (
    instance_id uuid,
    id uuid primary key,
    aud text,
    role text,
    email text,
    encrypted_password text,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_anonymous boolean not null default false,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    deleted_at timestamptz
);

alter table auth.users enable row level security;
alter table auth.users owner to supabase_auth_admin;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;
alter function auth.jwt() owner to supabase_auth_admin;
grant select, references, trigger on auth.users to postgres;

do $$
begin
    if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
        create publication supabase_realtime;
        alter publication supabase_realtime owner to postgres;
    end if;
end
$$;
