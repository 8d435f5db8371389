-- Audits: objects in the store that no row names, found by listing it. A crash of ours leaves none behind; a
-- restored database, a lost row or a stray upload may.

-- One row per bucket: how far the listing has come, and until when somebody is at it.
create table copperplate.audits (
    bucket text not null,
    reached text not null default '',
    claimed_until timestamptz not null,
    constraint audits_pkey primary key (bucket)
);

comment on table copperplate.audits is
'How far the search for forgotten objects has come. Row-level security is on without a policy.';

alter table copperplate.audits enable row level security;
revoke all on table copperplate.audits from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.audits to service_role;

create function public.claim_audit(p_bucket text)
returns text
language sql
volatile
security invoker
set search_path = ''
as $$
    insert into copperplate.audits as a (bucket, claimed_until)
    values (p_bucket, copperplate.clock() + interval '1 minute')
    on conflict (bucket) do update set claimed_until = excluded.claimed_until
    where a.claimed_until < copperplate.clock()
    returning a.reached;
$$;

comment on function public.claim_audit(text) is
'Reserve the listing of a bucket for a minute; answers where to go on, or null while somebody else is at it.';
revoke all on function public.claim_audit(text) from public, anon, authenticated;
grant execute on function public.claim_audit(text) to service_role;

create function public.audit_objects(p_bucket text, p_paths text[], p_reached text)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_found integer;
begin
    insert into copperplate.discarded_objects (bucket, path, generation_key, discarded_at)
    select p_bucket, o.path, '', copperplate.clock()
    from unnest(p_paths) as o (path)
    where
        not exists (
            select from copperplate.cache_entries as e
            where e.bucket = p_bucket and e.path = o.path
        )
        -- A completed generation intends nothing, and those that are not completed are few.
        and not exists (
            select from public.generation_status as g
            where g.status <> 'completed' and g.intent ->> 'path' = o.path
        )
    on conflict (bucket, path) do nothing;
    get diagnostics v_found = row_count;

    insert into copperplate.audits as a (bucket, reached, claimed_until)
    values (p_bucket, p_reached, copperplate.clock() + interval '1 minute')
    on conflict (bucket) do update set reached = excluded.reached, claimed_until = excluded.claimed_until;
    return v_found;
end;
$$;

comment on function public.audit_objects(text, text[], text) is
'Discard those of the objects that no row names, and note how far the listing has come; answers how many.
Only objects older than any upload under way may be given: they go after their grace like every other.';
revoke all on function public.audit_objects(text, text[], text) from public, anon, authenticated;
grant execute on function public.audit_objects(text, text[], text) to service_role;
