-- How a generation ends: its original is stored.

create function copperplate.complete_again(
    p_key text, p_original_key text, p_path text, p_renditions jsonb
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_stored copperplate.acquire_result;
    v_is_ours boolean;
begin
    -- Said before: the same answer. Otherwise we are too late, and our objects belong to nobody, unless a successor has
    -- adopted the original or is about to; the renditions are nobody's then.
    v_is_ours := exists (
        select from copperplate.cache_entries as e
        where e.key = p_original_key and e.path = p_path
    );
    perform copperplate.discard_refused(p_key, r.value ->> 'path')
    from jsonb_array_elements(p_renditions) as r
    where not exists (
        select from copperplate.cache_entries as e
        where e.key = r.value ->> 'key' and e.path = r.value ->> 'path'
    );
    if v_is_ours then
        v_stored := copperplate.stored(p_renditions #>> '{0,key}');
        return case when v_stored.path is null then copperplate.stored(p_original_key) else v_stored end;
    end if;
    perform copperplate.discard_refused(p_key, p_path)
    where not exists (
        select from public.generation_status as g
        where g.prompt_hash = p_key and g.intent ->> 'path' = p_path
    );
    return copperplate.stale();
end;
$$;

comment on function copperplate.complete_again(text, text, text, jsonb) is
'The answer to a completion whose lease is over: the entry where it was recorded before, else stale.';
revoke all on function copperplate.complete_again(text, text, text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.complete_again(text, text, text, jsonb) to service_role;

create function public.complete_generation(
    p_key text,
    p_fence bigint,
    p_original_key text,
    -- {path, digest, size_bytes, format, width, height, thumbhash, color, has_c2pa, is_ai_made}
    p_upload jsonb,
    p_url text,
    -- [{key, path, digest, size_bytes, format, width, height, quality, is_sized, encoder_version}], the asked one first
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
    v_is_own_original boolean;
    v_stored copperplate.acquire_result;
begin
    -- Of what was taken down the row goes: nothing is stored, and the objects are discarded below.
    perform copperplate.enforce_takedown(p_key);
    perform copperplate.enforce_takedown(p_key, r.value ->> 'key') from jsonb_array_elements(p_renditions) as r;
    -- A picture that was given says nothing of a provider.
    select case when g.submit_no > 0 then g.provider end, g.kind, g.model, g.started_at, g.reserved
    into v_provider, v_kind, v_model, v_asked_at, v_reserved
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'generating'
    for update;

    if not found then
        return copperplate.complete_again(p_key, p_original_key, p_upload ->> 'path', p_renditions);
    end if;

    update public.generation_status as g
    set
        status = 'completed', phase = null, format = p_upload ->> 'format', generated_url = p_url, leader = null,
        lease_until = null, intent = null, reserved = null, completed_at = v_now, updated_at = v_now,
        dimensions = coalesce(nullif(g.dimensions, ''), (p_upload ->> 'width') || 'x' || (p_upload ->> 'height'))
    where g.prompt_hash = p_key;
    select k.is_own_original into v_is_own_original from copperplate.kinds as k where k.name = v_kind;
    perform copperplate.add_entry(p_original_key, p_key, true, v_is_own_original, p_upload);
    perform copperplate.add_rendition(p_key, r.value) from jsonb_array_elements(p_renditions) as r;
    v_stored := copperplate.stored(p_renditions #>> '{0,key}');
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
    text, bigint, text, jsonb, text, jsonb
) is
'Record the stored, verified original, and stored renditions of it: hit with the entry that stands for the first of them
(the original''s where none does), or stale; a stale leader''s objects are discarded.';
revoke all on function public.complete_generation(
    text, bigint, text, jsonb, text, jsonb
) from public, anon, authenticated;
grant execute on function public.complete_generation(
    text, bigint, text, jsonb, text, jsonb
) to service_role;
