-- Renditions that are kept: how many, which of them people are shown, what displaces and what replaces others.

create function copperplate.disused_rendition(p_generation_key text)
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return (
        select e.key
        from copperplate.cache_entries as e
        inner join public.generation_status as g on e.generation_key = g.prompt_hash
        where
            e.generation_key = p_generation_key and not e.is_original and e.is_sized and not e.is_shown
            and g.pinned_at is null and e.archived_at is null
            -- A crowd of sizes displaces nothing that is in use, and each form at most once a day.
            and e.last_accessed_at < copperplate.clock() - interval '1 day'
        order by e.last_accessed_at, e.created_at, e.key
        limit 1
    );
end;
$$;

comment on function copperplate.disused_rendition(text) is
'The key of the sized form that another may displace: the least recently used, if nobody used it for a day. Null for
none; what people are shown, what is pinned and what is archived stays.';
revoke all on function copperplate.disused_rendition(text) from public, anon, authenticated;
grant execute on function copperplate.disused_rendition(text) to service_role;

create function copperplate.may_keep_rendition(p_generation_key text, p_is_sized boolean)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- Whole pictures have at most 16 forms (png, and 3 formats in 5 qualities): 48 sized ones leave room for all.
    return (
        select
            case
                when p_is_sized and c.sized >= 48
                    then c.kept <= 64 and copperplate.disused_rendition(p_generation_key) is not null
                else c.kept < 64
            end
        from (
            select
                count(*) as kept,
                count(*) filter (where e.is_sized) as sized
            from copperplate.cache_entries as e
            where e.generation_key = p_generation_key and not e.is_original
        ) as c
    );
end;
$$;

comment on function copperplate.may_keep_rendition(text, boolean) is
'Whether a generation may keep one more rendition: 64 in all, 48 of them sized, or one that a sized one displaces.';
revoke all on function copperplate.may_keep_rendition(text, boolean) from public, anon, authenticated;
grant execute on function copperplate.may_keep_rendition(text, boolean) to service_role;

create function copperplate.make_place(p_generation_key text, p_is_sized boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_displaced text;
begin
    if p_is_sized and 48 <= (
        select count(*)
        from copperplate.cache_entries as e
        where e.generation_key = p_generation_key and not e.is_original and e.is_sized
    ) then
        v_displaced := copperplate.disused_rendition(p_generation_key);
        perform copperplate.set_aging(true);
        delete from copperplate.cache_entries as e where e.key = v_displaced;
        perform copperplate.set_aging(false);
    end if;
end;
$$;

comment on function copperplate.make_place(text, boolean) is
'Remove the form that a new sized one displaces, if there is no place left. Called under the lock of the generation.';
revoke all on function copperplate.make_place(text, boolean) from public, anon, authenticated;
grant execute on function copperplate.make_place(text, boolean) to service_role;

create function copperplate.show_rendition(p_generation_key text, p_upload jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_is_standard boolean := not p_upload @> '{"is_sized": true}' and coalesce((p_upload ->> 'quality')::integer, 85) = 85;
    v_shown copperplate.cache_entries;
begin
    if (
        select k.is_own_original
        from public.generation_status as g
        inner join copperplate.kinds as k on g.kind = k.name
        where g.prompt_hash = p_generation_key
    ) then
        return false;
    end if;
    select e.*
    into v_shown
    from copperplate.cache_entries as e
    where e.generation_key = p_generation_key and e.format = p_upload ->> 'format' and e.is_shown;
    -- A format has one standard form, so what is shown beside a new one is another.
    if not found or not v_is_standard then
        return v_shown.key is null;
    end if;
    update copperplate.cache_entries as e set is_shown = false where e.key = v_shown.key;
    insert into copperplate.public_totals (day, kind, images, image_bytes)
    values ((copperplate.clock() at time zone 'UTC')::date, v_shown.kind, -1, -v_shown.file_size);
    return true;
end;
$$;

comment on function copperplate.show_rendition(text, jsonb) is
'Whether people are to be shown this new rendition: the whole picture at quality 85, else the first of its format. The
one that was shown before steps back. Called under the lock of the generation.';
revoke all on function copperplate.show_rendition(text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.show_rendition(text, jsonb) to service_role;

create function copperplate.replace_rendition(p_upload jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_old copperplate.cache_entries;
    v_size bigint := (p_upload ->> 'size_bytes')::bigint;
begin
    select e.* into v_old from copperplate.cache_entries as e where e.key = p_upload ->> 'key' for update;
    update copperplate.cache_entries as e
    set
        path = p_upload ->> 'path', digest = p_upload ->> 'digest', file_size = v_size,
        encoder_version = (p_upload ->> 'encoder_version')::integer
    where e.key = v_old.key;
    perform copperplate.discard_object(v_old.kind, v_old.path, v_old.generation_key);
    insert into copperplate.public_totals (day, kind, image_bytes, stored_bytes)
    values (
        (copperplate.clock() at time zone 'UTC')::date,
        v_old.kind,
        case when v_old.is_shown then v_size - v_old.file_size else 0 end,
        v_size - v_old.file_size
    );
end;
$$;

comment on function copperplate.replace_rendition(jsonb) is
'Put the object of newer encoders in the place of an older one, which is discarded; its uses stay.';
revoke all on function copperplate.replace_rendition(jsonb) from public, anon, authenticated;
grant execute on function copperplate.replace_rendition(jsonb) to service_role;

create function copperplate.take_back(p_generation_key text, p_path text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    delete from copperplate.discarded_objects as d
    using public.generation_status as g
    inner join copperplate.kinds as k on g.kind = k.name
    where g.prompt_hash = p_generation_key and d.bucket = k.bucket and d.path = p_path and d.claimed_until is null;
    return found;
end;
$$;

comment on function copperplate.take_back(text, text) is
'Take an object that was written ahead back from among the discarded; false once its removal has begun.';
revoke all on function copperplate.take_back(text, text) from public, anon, authenticated;
grant execute on function copperplate.take_back(text, text) to service_role;

create function copperplate.add_rendition(p_generation_key text, p_upload jsonb)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_stored copperplate.acquire_result;
    v_may_stand boolean;
begin
    -- One after the other: how many there are, and which is shown, is decided by what is seen here.
    perform from public.generation_status as g where g.prompt_hash = p_generation_key for no key update;
    v_stored := copperplate.stored(p_upload ->> 'key');
    v_may_stand := case
        when v_stored.path is null
            then copperplate.may_keep_rendition(p_generation_key, p_upload @> '{"is_sized": true}')
        -- Under the key of an original nothing else ever stands.
        else not v_stored.is_original and v_stored.encoder_version < coalesce((p_upload ->> 'encoder_version')::integer, 0)
    end;
    if v_may_stand and copperplate.take_back(p_generation_key, p_upload ->> 'path') then
        if v_stored.path is null then
            perform copperplate.make_place(p_generation_key, p_upload @> '{"is_sized": true}');
            perform copperplate.add_entry(
                p_upload ->> 'key', p_generation_key, false,
                copperplate.show_rendition(p_generation_key, p_upload), p_upload
            );
        else
            perform copperplate.replace_rendition(p_upload);
        end if;
        return copperplate.stored(p_upload ->> 'key');
    end if;
    -- Somebody was first, it is too late, or there is no room.
    if v_stored.path is distinct from p_upload ->> 'path' then
        perform copperplate.discard_refused(p_generation_key, p_upload ->> 'path');
    end if;
    return v_stored;
end;
$$;

comment on function copperplate.add_rendition(text, jsonb) is
'Record a stored rendition that was written ahead, in place of one by older encoders; answers the entry that stands
then, or null. An object that does not stand is discarded.';
revoke all on function copperplate.add_rendition(text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.add_rendition(text, jsonb) to service_role;
