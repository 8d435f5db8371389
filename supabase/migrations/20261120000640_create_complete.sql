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
    -- {key, path, digest, size_bytes, format, width, height}
    p_rendition jsonb default null
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
    -- Of what was taken down the row goes: nothing is stored, and both objects are discarded below.
    perform copperplate.enforce_takedown(p_key, p_rendition ->> 'key');
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
            v_stored := copperplate.stored(p_rendition ->> 'key');
            -- A successor may have adopted the original; the rendition is nobody's then.
            if v_stored.path is distinct from p_rendition ->> 'path' then
                perform copperplate.discard_refused(p_key, p_rendition ->> 'path');
            end if;
            return case when v_stored.path is null then copperplate.stored(p_original_key) else v_stored end;
        end if;
        perform copperplate.discard_refused(p_key, p_path)
        where not exists (
            select from public.generation_status as g
            where g.prompt_hash = p_key and g.intent ->> 'path' = p_path
        );
        perform copperplate.discard_refused(p_key, p_rendition ->> 'path');
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
    if p_rendition is not null then
        v_stored := copperplate.add_rendition(p_rendition ->> 'key', p_key, p_rendition);
    end if;
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
'Record the stored, verified original, and a stored rendition of it: hit with the entry that stands for the rendition
(the original''s where none does), or stale; a stale leader''s objects are discarded.';
revoke all on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text, jsonb
) from public, anon, authenticated;
grant execute on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text, jsonb
) to service_role;
