-- Objects that no row needs any more, until the store has removed them. However an entry goes
-- (cleanup, purge, a person's DELETE, a cascade), its object lands here.
create table copperplate.discarded_objects (
    id bigint generated always as identity,
    bucket text not null,
    path text not null,
    generation_key text not null,
    -- The grace runs from here: a reader that has just looked the path up may still fetch it.
    discarded_at timestamptz not null,
    claimed_until timestamptz,
    constraint discarded_objects_pkey primary key (id),
    constraint discarded_objects_object_key unique (bucket, path)
);

comment on table copperplate.discarded_objects is
'Objects to remove from the store after their grace. Row-level security is on without a policy.';

alter table copperplate.discarded_objects enable row level security;
revoke all on table copperplate.discarded_objects from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.discarded_objects to service_role;

create function copperplate.discard_object(p_kind text, p_path text, p_generation_key text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_path is null then
        return;
    end if;
    insert into copperplate.discarded_objects (bucket, path, generation_key, discarded_at)
    select k.bucket, p_path, p_generation_key, copperplate.clock()
    from copperplate.kinds as k
    where k.name = p_kind
    on conflict (bucket, path) do nothing;
end;
$$;

comment on function copperplate.discard_object(text, text, text) is
'Note an object for removal after its grace; a null path or a repeat changes nothing.';
revoke all on function copperplate.discard_object(text, text, text) from public, anon, authenticated;
grant execute on function copperplate.discard_object(text, text, text) to service_role;

create function copperplate.discarded_with(p_keys text[])
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_array(d.bucket, d.path) order by d.id), '[]')
    from copperplate.discarded_objects as d
    where d.generation_key = any(p_keys);
$$;

comment on function copperplate.discarded_with(text[]) is
'The objects of these generations and source pictures that the store may still have: [[bucket, path]].';
revoke all on function copperplate.discarded_with(text[]) from public, anon, authenticated;
grant execute on function copperplate.discarded_with(text[]) to service_role;
