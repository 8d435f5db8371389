-- Renditions made of a stored original, and objects that are gone.

create function public.intend_rendition(
    p_generation_key text, p_original_path text, p_path text, p_key text, p_is_sized boolean
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.discard_object(o.kind, p_path, p_generation_key)
    from copperplate.cache_entries as o
    where
        o.generation_key = p_generation_key and o.is_original and o.path = p_original_path
        and (
            copperplate.may_keep_rendition(p_generation_key, p_is_sized)
            -- One of an older version takes no place.
            or exists (select from copperplate.cache_entries as e where e.key = p_key)
        );
    return found;
end;
$$;

comment on function public.intend_rendition(text, text, text, text, boolean) is
'Write ahead where a rendition is about to be stored: what is not recorded within the grace is removed.
False if the original is no longer the generation''s, or the generation keeps as many renditions as it may.';
revoke all on function public.intend_rendition(text, text, text, text, boolean) from public, anon, authenticated;
grant execute on function public.intend_rendition(text, text, text, text, boolean) to service_role;

create function public.record_rendition(
    p_generation_key text,
    p_original_path text,
    -- {key, path, digest, size_bytes, format, width, height, quality, is_sized, encoder_version}
    p_upload jsonb
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_stored copperplate.acquire_result;
begin
    perform copperplate.enforce_takedown(p_generation_key, p_upload ->> 'key');
    -- Locked before the next statement looks: what took the original away meanwhile is seen.
    perform from public.generation_status as g where g.prompt_hash = p_generation_key for no key update;

    -- The original must still be the generation's: a rendition of a picture declared wrong is wrong.
    if exists (
        select from copperplate.cache_entries as o
        where o.generation_key = p_generation_key and o.is_original and o.path = p_original_path
    ) then
        v_stored := copperplate.add_rendition(p_generation_key, p_upload);
    else
        perform copperplate.discard_refused(p_generation_key, p_upload ->> 'path');
    end if;
    return case when v_stored.path is null then copperplate.stale() else v_stored end;
end;
$$;

comment on function public.record_rendition(text, text, jsonb) is
'Record a stored rendition; answers the entry that now stands, which is of no older encoders.
Stale if the original changed, the object was not intended within the grace, or there is no room for one more.';
revoke all on function public.record_rendition(text, text, jsonb) from public, anon, authenticated;
grant execute on function public.record_rendition(text, text, jsonb) to service_role;

create function public.report_missing(p_key text, p_path text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_generation_key text;
    v_is_original boolean;
begin
    select e.generation_key, e.is_original
    into v_generation_key, v_is_original
    from copperplate.cache_entries as e
    where e.key = p_key and e.path = p_path;
    if not found then
        return false;
    end if;

    -- Generation first, then entries: the one lock order.
    perform from public.generation_status as g where g.prompt_hash = v_generation_key for update;
    -- Whoever held the lock may have reopened it, and a third may have made it anew.
    if not exists (select from copperplate.cache_entries as e where e.key = p_key and e.path = p_path) then
        return false;
    end if;

    if v_is_original then
        -- Reopened at once the first time; a store that keeps losing pictures must not cost more.
        update public.generation_status as g
        set
            status = 'failed', phase = null, error_class = 'missing_object',
            error_message = 'the stored original is gone or altered', format = null, generated_url = null,
            retry_at = case when g.attempt < 2 then v_now else g.window_started_at + interval '1 day' end,
            completed_at = null, updated_at = v_now
        where g.prompt_hash = v_generation_key and g.status = 'completed';
        delete from copperplate.cache_entries as e where e.generation_key = v_generation_key;
    else
        delete from copperplate.cache_entries as e where e.key = p_key and e.path = p_path;
    end if;
    return true;
end;
$$;

comment on function public.report_missing(text, text) is
'The object of this entry is gone or altered: drop the entry; for an original, reopen the generation.';
revoke all on function public.report_missing(text, text) from public, anon, authenticated;
grant execute on function public.report_missing(text, text) to service_role;
