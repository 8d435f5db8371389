-- How a generation ends: its original is stored.

create function public.complete_generation(
    p_key text,
    p_fence bigint,
    p_original_key text,
    p_path text,
    p_digest text,
    p_size_bytes bigint,
    p_format text,
    p_width integer,
    p_height integer,
    p_url text,
    -- [{key, path, digest, size_bytes, format, width, height}, ...]: the one asked for first
    p_renditions jsonb default '[]'
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_provider text;
    v_kind text;
    v_model text;
    v_asked_at timestamptz;
    v_reserved jsonb;
    v_stored copperplate.acquire_result;
begin
    -- Of what was taken down the row goes: nothing is stored, and all objects are discarded below.
    perform copperplate.enforce_takedown(p_key, null);
    perform copperplate.enforce_takedown(p_key, each.value ->> 'key') from jsonb_array_elements(p_renditions) as each;
    select g.provider, g.kind, g.model, g.started_at, g.reserved
    into v_provider, v_kind, v_model, v_asked_at, v_reserved
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'generating'
    for update;

    if not found then
        -- Said before: the same answer. Otherwise we are too late, and our objects belong to nobody,
        -- unless a successor has adopted the original or is about to.
        if exists (
            select from copperplate.cache_entries as e
            where e.key = p_original_key and e.path = p_path
        ) then
            -- A successor may have adopted the original; a rendition that does not stand is nobody's then.
            perform copperplate.discard_refused(p_key, each.value ->> 'path')
            from jsonb_array_elements(p_renditions) as each
            where not exists (
                select from copperplate.cache_entries as e
                where e.key = each.value ->> 'key' and e.path = each.value ->> 'path'
            );
            v_stored := copperplate.stored(p_renditions -> 0 ->> 'key');
            return case when v_stored.path is null then copperplate.stored(p_original_key) else v_stored end;
        end if;
        perform copperplate.discard_refused(p_key, p_path)
        where not exists (
            select from public.generation_status as g
            where g.prompt_hash = p_key and g.intent ->> 'path' = p_path
        );
        perform copperplate.discard_refused(p_key, each.value ->> 'path') from jsonb_array_elements(p_renditions) as each;
        return copperplate.stale();
    end if;

    update public.generation_status as g
    set
        status = 'completed', phase = null, format = p_format, generated_url = p_url, leader = null,
        lease_until = null, intent = null, reserved = null, completed_at = v_now, updated_at = v_now
    where g.prompt_hash = p_key;
    perform copperplate.add_entry(
        p_original_key, p_key, true,
        copperplate.upload(p_path, p_digest, p_size_bytes, p_format, p_width, p_height)
    );
    perform copperplate.add_rendition(each.value ->> 'key', p_key, each.value)
    from jsonb_array_elements(p_renditions) as each;
    v_stored := copperplate.stored(p_renditions -> 0 ->> 'key');
    perform copperplate.note_success(copperplate.services_of(v_provider, v_kind, v_model), v_asked_at);
    perform copperplate.settle_reservation(p_key, p_url);
    -- Reserved for a submit that was not needed.
    perform copperplate.release_spending(v_reserved);
    insert into copperplate.public_totals (day, kind, completed) values ((v_now at time zone 'UTC')::date, v_kind, 1);
    perform pg_notify('copperplate', p_key);
    return case when v_stored.path is null then copperplate.stored(p_original_key) else v_stored end;
end;
$$;

comment on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text, jsonb
) is
'Record the stored, verified original, and stored renditions of it: hit with the entry that stands for the first one
(the original''s where none does), or stale; a stale leader''s objects are discarded.';
revoke all on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text, jsonb
) from public, anon, authenticated;
grant execute on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text, jsonb
) to service_role;
