-- Pictures that must not be served, and never be made again. A tombstone outlives everything of its generation, and no
-- cleanup removes it: only lift_takedown does.
create table copperplate.takedowns (
    -- The generation's key. That of a picture (a rendition's) where nothing was known of it when it was taken down. Of
    -- bytes that nothing may be made of: their digest.
    generation_key text not null,
    -- As the owner named it: a takedown is lifted by this key, too.
    asked_key text not null,
    -- The tombstone that took this one with it, and is lifted with it; null where the owner named this one.
    follows_key text,
    reason text,
    created_at timestamptz not null,
    constraint takedowns_pkey primary key (generation_key),
    constraint takedowns_generation_key_is_sha256 check (generation_key ~ '^[0-9a-f]{64}$'),
    constraint takedowns_asked_key_is_sha256 check (asked_key ~ '^[0-9a-f]{64}$'),
    constraint takedowns_follows_another check (follows_key ~ '^[0-9a-f]{64}$' and follows_key <> generation_key),
    constraint takedowns_reason_is_short check (length(reason) between 1 and 500)
);

create index takedowns_follows_idx on copperplate.takedowns (follows_key) where follows_key is not null;

comment on table copperplate.takedowns is
'Tombstones: one row per picture that is answered 410 and never generated again.
Row-level security is on without a policy: only service_role and the owner see rows.';
comment on column copperplate.takedowns.reason is 'For the owner; no caller is told.';

alter table copperplate.takedowns enable row level security;
revoke all on table copperplate.takedowns from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.takedowns to service_role;

create function copperplate.is_taken_down(p_generation_key text, p_rendition_key text default null)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select exists (
        select from copperplate.takedowns as t
        where t.generation_key in (p_generation_key, p_rendition_key)
    );
$$;

comment on function copperplate.is_taken_down(text, text) is
'Whether there is a tombstone of this generation, or of this rendition of it.';
revoke all on function copperplate.is_taken_down(text, text) from public, anon, authenticated;
grant execute on function copperplate.is_taken_down(text, text) to service_role;

create function copperplate.enforce_takedown(p_generation_key text, p_rendition_key text default null)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if
        not copperplate.is_taken_down(p_generation_key, p_rendition_key)
        -- Or what it is made from, whose takedown did not see this one yet.
        and not exists (
            select from public.generation_status as g
            where
                g.prompt_hash = p_generation_key
                and g.kind = 'processed'
                and copperplate.source_is_taken_down(g.recipe ->> 'source')
        )
    then
        return false;
    end if;
    -- A rendition's key was taken down while nothing was known of it: here its generation is.
    insert into copperplate.takedowns (generation_key, asked_key, reason, created_at)
    select p_generation_key, t.asked_key, t.reason, t.created_at
    from copperplate.takedowns as t
    where t.generation_key = p_rendition_key and not copperplate.is_taken_down(p_generation_key)
    on conflict (generation_key) do nothing;
    -- Those who go on asking for it run no trigger, and do not queue for the lock of a notification.
    if exists (select from public.generation_status as g where g.prompt_hash = p_generation_key) then
        delete from public.generation_status as g where g.prompt_hash = p_generation_key;
        perform pg_notify('copperplate', p_generation_key);
    end if;
    return true;
end;
$$;

comment on function copperplate.enforce_takedown(text, text) is
'Whether this is taken down. If so, what began beside the takedown goes: its generation, with its lease, entries,
objects and reservations. A tombstone of the rendition alone becomes one of its generation.';
revoke all on function copperplate.enforce_takedown(text, text) from public, anon, authenticated;
grant execute on function copperplate.enforce_takedown(text, text) to service_role;

create function copperplate.place_taken_down(p_generation_key text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    insert into public.generation_status (
        prompt_hash, kind, recipe, dimensions, model, status, error_class, retry_at, window_started_at, fence,
        created_at, updated_at
    )
    values (
        p_generation_key, '', '{}', '', '', 'failed', 'abandoned', v_now, v_now, nextval('copperplate.fences'),
        v_now, v_now
    )
    on conflict (prompt_hash) do nothing;
    return found;
end;
$$;

comment on function copperplate.place_taken_down(text) is
'Place a row that is to be deleted where a generation has none. An election under way holds its key before its row can
be seen: this waits until it is over. True where there was none. Whoever is elected later sees the tombstone in
begin_submit.';
revoke all on function copperplate.place_taken_down(text) from public, anon, authenticated;
grant execute on function copperplate.place_taken_down(text) to service_role;

create function copperplate.remove_taken_down(p_generation_key text, p_descendants text[])
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[] := array[p_generation_key] || p_descendants;
    -- Those of an earlier call, too: taking down again goes on where it failed.
    v_names text[] := v_keys || array(
        select t.generation_key from copperplate.takedowns as t where t.follows_key = p_generation_key
    );
    v_was_placed boolean := copperplate.place_taken_down(p_generation_key);
    v_in_cdns text[] := copperplate.without_private(v_keys);
    v_counts jsonb;
    v_objects jsonb;
begin
    -- Generations first, then entries, and sources: the one lock order.
    perform from public.generation_status as g
    where g.prompt_hash = any(v_keys)
    order by g.prompt_hash
    for update;
    select
        jsonb_build_object(
            'generations', cardinality(v_keys) - v_was_placed::integer,
            'descendants', cardinality(p_descendants),
            -- What people are shown, which is the original itself of some kinds.
            'images', count(*) filter (where e.is_shown),
            'bytes', coalesce(sum(e.file_size), 0)
        )
    into v_counts
    from copperplate.cache_entries as e
    where e.generation_key = any(v_keys);
    perform copperplate.set_aging(true);
    delete from public.generation_status as g where g.prompt_hash = any(v_keys);
    perform copperplate.set_aging(false);
    perform copperplate.discard_inputs(v_names);
    v_objects := copperplate.discarded_with(v_names);
    -- In place of what the deletion declares: also copies of what was removed before, by age.
    perform copperplate.add_cdn_purges(v_in_cdns, v_objects);
    perform pg_notify('copperplate', k.key) from unnest(v_keys) as k (key);
    return v_counts || jsonb_build_object('keys', v_keys, 'objects', v_objects);
end;
$$;

comment on function copperplate.remove_taken_down(text, text[]) is
'Remove a generation that has its tombstone, an election under way included, its descendants, and the clean copies of
what they were made from; answers counts, their keys and objects.';
revoke all on function copperplate.remove_taken_down(text, text[]) from public, anon, authenticated;
grant execute on function copperplate.remove_taken_down(text, text[]) to service_role;

create function copperplate.find_to_take_down(p_key text, out what text, out generation_key text)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    select 'generation', g.prompt_hash into what, generation_key
    from public.generation_status as g
    where g.prompt_hash = p_key;
    if generation_key is null then
        -- People hold the key of a picture: X-Copperplate-Key, prompt_hash in public.image_cache.
        select 'picture', e.generation_key into what, generation_key
        from copperplate.cache_entries as e
        where e.key = p_key;
    end if;
    if generation_key is null then
        select 'tombstone', t.generation_key into what, generation_key
        from copperplate.takedowns as t
        where p_key = t.generation_key or (p_key = t.asked_key and t.follows_key is null)
        order by t.generation_key = p_key
        limit 1;
    end if;
    if generation_key is null then
        select 'source', s.digest into what, generation_key
        from copperplate.source_pictures as s
        where s.digest = p_key;
    end if;
    if generation_key is null then
        what := 'nothing';
        generation_key := p_key;
    end if;
end;
$$;

comment on function copperplate.find_to_take_down(text) is
'What a key is, generation, picture, tombstone, source (the digest of one) or nothing, and the key of its tombstone.';
revoke all on function copperplate.find_to_take_down(text) from public, anon, authenticated;
grant execute on function copperplate.find_to_take_down(text) to service_role;

create function public.take_down(p_key text, p_reason text default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- A call removes no more descendants than this, well below the database's time limit.
    v_limit constant integer := 1000;
    v_asked record;
    v_is_new integer;
    v_names text[];
    v_descendants text[];
begin
    perform copperplate.close_lineage();
    v_asked := copperplate.find_to_take_down(p_key);
    insert into copperplate.takedowns as t (generation_key, asked_key, reason, created_at)
    values (v_asked.generation_key, p_key, p_reason, copperplate.clock())
    -- What was taken with another is from now on taken down for itself.
    on conflict (generation_key) do update
    set follows_key = null, asked_key = excluded.asked_key, reason = coalesce(excluded.reason, t.reason)
    where t.follows_key is not null;
    get diagnostics v_is_new = row_count;

    v_names := array(
        select b.name
        from copperplate.names_below(
            array[v_asked.generation_key] || array(
                select t.generation_key from copperplate.takedowns as t where t.follows_key = v_asked.generation_key
            )
        ) as b (name)
        where b.name <> v_asked.generation_key
    );
    v_descendants := array(
        select g.prompt_hash
        from public.generation_status as g
        where g.prompt_hash = any(v_names)
        order by g.prompt_hash
        limit v_limit
    );
    insert into copperplate.takedowns (generation_key, asked_key, follows_key, reason, created_at)
    select n.name, p_key, v_asked.generation_key, p_reason, copperplate.clock()
    from unnest(v_names) as n (name)
    order by n.name
    on conflict (generation_key) do nothing;
    return copperplate.remove_taken_down(v_asked.generation_key, v_descendants) || jsonb_build_object(
        'found', v_asked.what, 'generation_key', v_asked.generation_key, 'is_new', v_is_new = 1,
        'is_whole', cardinality(v_descendants) < v_limit
    );
end;
$$;

comment on function public.take_down(text, text) is
'Take a picture down, by the key of its generation or its own: it is removed, answered 410 and never generated again,
and with it all that was made from it. By the SHA-256 of a source picture: nothing is made of these bytes any more.
Answers found, what the key was: generation, picture, tombstone, source, or nothing; counts; keys and objects for CDN and
store; is_whole, false where there were more descendants than one call removes: repeat it.
A key that is not known yet is taken down all the same. Repeated, it removes what is left.';
revoke all on function public.take_down(text, text) from public, anon, authenticated;
grant execute on function public.take_down(text, text) to service_role;

create function public.lift_takedown(p_key text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[];
begin
    v_keys := array(
        select t.generation_key
        from copperplate.takedowns as t
        where t.follows_key is null and p_key in (t.generation_key, t.asked_key)
    );
    delete from copperplate.takedowns as t where t.generation_key = any(v_keys) or t.follows_key = any(v_keys);
    return found;
end;
$$;

comment on function public.lift_takedown(text) is
'Remove the tombstone, by the key of the generation or the one that was taken down, and those that it took with it: the
next request makes the picture anew. False where there is none, or it follows another: then that one is to be lifted.';
revoke all on function public.lift_takedown(text) from public, anon, authenticated;
grant execute on function public.lift_takedown(text) to service_role;
