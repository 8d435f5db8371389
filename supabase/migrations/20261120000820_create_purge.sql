-- Pictures that are declared wrong.

create function copperplate.check_purge(p_conditions text[])
returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if array_remove(p_conditions, null) = '{}' then
        raise exception 'purge_entries needs at least one condition'
            using errcode = 'ZC006', hint = 'Name a key, a prompt, a prefix of the key, a model or an age.';
    elsif '' = any(p_conditions) then
        -- Every key begins with nothing: a variable that was never set must not empty the cache.
        raise exception 'a condition of purge_entries is empty'
            using errcode = 'ZC006', hint = 'Leave it out, or say what it must be.';
    end if;
end;
$$;

comment on function copperplate.check_purge(text[]) is
'Raises ZC006 where none of these conditions of a purge is given, or one is empty.';
revoke all on function copperplate.check_purge(text[]) from public, anon, authenticated;
grant execute on function copperplate.check_purge(text[]) to service_role;

create function copperplate.find_to_purge(
    p_generation_key text,
    p_prompt text,
    p_key_prefix text,
    p_model text,
    p_older_than interval,
    p_limit integer,
    p_with_pinned boolean
)
returns text[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    -- People hold the key of a picture: X-Copperplate-Key, prompt_hash in public.image_cache.
    v_generation_key text := (select e.generation_key from copperplate.cache_entries as e where e.key = p_generation_key);
begin
    return array(
        select g.prompt_hash
        from public.generation_status as g
        where
            (p_generation_key is null or g.prompt_hash in (p_generation_key, v_generation_key))
            and (p_prompt is null or g.prompt = copperplate.fold_text(p_prompt))
            and (p_key_prefix is null or starts_with(g.prompt_hash, p_key_prefix))
            and (p_model is null or g.model = p_model)
            and (p_older_than is null or g.created_at < copperplate.clock() - p_older_than)
            -- A filter meets more than its author thinks of; whoever names the key means this picture.
            and (p_with_pinned or p_generation_key is not null or g.pinned_at is null)
        order by g.prompt_hash
        limit p_limit
    );
end;
$$;

comment on function copperplate.find_to_purge(text, text, text, text, interval, integer, boolean) is
'The keys of at most p_limit generations that meet every condition given, without the pinned ones that are not meant.';
revoke all on function copperplate.find_to_purge(text, text, text, text, interval, integer, boolean)
from public, anon, authenticated;
grant execute on function copperplate.find_to_purge(text, text, text, text, interval, integer, boolean)
to service_role;

create function copperplate.count_pinned(p_prompt text, p_key_prefix text, p_model text, p_older_than interval)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return (
        select count(*)
        from public.generation_status as g
        where
            g.pinned_at is not null
            and (p_prompt is null or g.prompt = copperplate.fold_text(p_prompt))
            and (p_key_prefix is null or starts_with(g.prompt_hash, p_key_prefix))
            and (p_model is null or g.model = p_model)
            and (p_older_than is null or g.created_at < copperplate.clock() - p_older_than)
    );
end;
$$;

comment on function copperplate.count_pinned(text, text, text, interval) is
'How many pinned generations meet every condition given.';
revoke all on function copperplate.count_pinned(text, text, text, interval) from public, anon, authenticated;
grant execute on function copperplate.count_pinned(text, text, text, interval) to service_role;

create function copperplate.remove_purged(p_keys text[], p_dry_run boolean)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_answer jsonb;
    v_objects jsonb;
begin
    -- Locked before they are looked at: a form that is recorded meanwhile is removed too, and named.
    if not p_dry_run then
        perform from public.generation_status as g
        where g.prompt_hash = any(p_keys)
        order by g.prompt_hash
        for update;
    end if;
    select
        jsonb_build_object(
            'generations', cardinality(p_keys),
            -- What people are shown, which is the original itself of some kinds.
            'images', count(*) filter (where e.is_shown), 'bytes', coalesce(sum(e.file_size), 0)
        ),
        coalesce(jsonb_agg(jsonb_build_array(e.bucket, e.path) order by e.key) filter (where not p_dry_run), '[]')
    into v_answer, v_objects
    from copperplate.cache_entries as e
    where e.generation_key = any(p_keys);
    if p_dry_run then
        return v_answer;
    end if;
    delete from public.generation_status as g where g.prompt_hash = any(p_keys);
    return v_answer || jsonb_build_object('keys', p_keys, 'objects', v_objects);
end;
$$;

comment on function copperplate.remove_purged(text[], boolean) is
'Remove these generations; answers counts, their keys and their objects. A dry run only counts.';
revoke all on function copperplate.remove_purged(text[], boolean) from public, anon, authenticated;
grant execute on function copperplate.remove_purged(text[], boolean) to service_role;

create function public.purge_entries(
    p_generation_key text default null,
    p_prompt text default null,
    p_key_prefix text default null,
    p_model text default null,
    p_older_than interval default null,
    p_dry_run boolean default true,
    p_limit integer default 1000,
    p_with_pinned boolean default false,
    p_with_children boolean default false
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[];
    v_pinned bigint := 0;
    v_children text[] := array[]::text[];
    v_pinned_children bigint := 0;
    v_has_more boolean;
begin
    perform copperplate.check_purge(array[p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than::text]);
    v_keys := copperplate.find_to_purge(
        p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than, p_limit, p_with_pinned
    );
    if not p_with_pinned and p_generation_key is null then
        v_pinned := copperplate.count_pinned(p_prompt, p_key_prefix, p_model, p_older_than);
    end if;
    v_has_more := cardinality(v_keys) >= p_limit;
    if p_with_children or p_dry_run then
        select c.keys, case when p_with_children then c.pinned else 0 end
        into v_children, v_pinned_children
        from copperplate.find_children(v_keys, p_with_pinned) as c;
    end if;
    if p_with_children and cardinality(v_children) > p_limit then
        -- The last of a lineage first: what they were made from leads to the rest of them in the next call.
        v_keys := v_children[:p_limit];
        v_pinned_children := 0;
        v_has_more := true;
    elsif p_with_children then
        v_keys := v_keys || v_children;
    end if;
    return copperplate.remove_purged(v_keys, p_dry_run) || jsonb_build_object(
        'dry_run', p_dry_run, 'pinned', v_pinned, 'has_more', v_has_more, 'children', cardinality(v_children),
        'pinned_children', v_pinned_children
    ) || case
        when p_dry_run and p_with_children then jsonb_build_object('tree', copperplate.tree_of(v_children))
        else '{}'::jsonb
    end;
end;
$$;

comment on function public.purge_entries(text, text, text, text, interval, boolean, integer, boolean, boolean) is
'Declare pictures wrong: remove the generations that meet every condition given; answers counts, their keys and
their objects. A dry run only counts. Pinned pictures are left, and counted as pinned, unless p_generation_key names one
or p_with_pinned is true. What was made from them stays, and a dry run counts it as children, unless p_with_children is
true; a dry run shows it then as a tree. has_more tells that there is more than one call removes.';
revoke all on function public.purge_entries(text, text, text, text, interval, boolean, integer, boolean, boolean)
from public, anon, authenticated;
grant execute on function public.purge_entries(text, text, text, text, interval, boolean, integer, boolean, boolean)
to service_role;
