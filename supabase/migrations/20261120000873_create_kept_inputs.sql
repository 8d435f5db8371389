-- Clean copies of source pictures in the store, for whoever makes what was promised of them.

create function public.keep_input(p_digest text, p_path text, p_kept_digest text, p_format text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- A takedown sees what is kept, or this sees the takedown.
    perform copperplate.hold_lineage();
    if copperplate.source_is_taken_down(p_digest) then
        perform copperplate.discard_object('processed', p_path, p_digest);
        return false;
    end if;
    update copperplate.source_pictures as s
    set
        kept_path = p_path, kept_digest = p_kept_digest, kept_format = p_format,
        kept_at = case when s.kept_path is distinct from p_path then copperplate.clock() else s.kept_at end
    where s.digest = p_digest;
    return found;
end;
$$;

comment on function public.keep_input(text, text, text, text) is
'Note that a clean copy of a source picture lies in the bucket of processed pictures; false where it is unknown, or
taken down: then the copy is to be removed.';
revoke all on function public.keep_input(text, text, text, text) from public, anon, authenticated;
grant execute on function public.keep_input(text, text, text, text) to service_role;

create function copperplate.discard_inputs(p_digests text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.discard_object('processed', s.kept_path, s.digest)
    from copperplate.source_pictures as s
    where s.digest = any(p_digests) and s.kept_path is not null;
    update copperplate.source_pictures as s
    set kept_path = null, kept_digest = null, kept_format = null, kept_at = null
    where s.digest = any(p_digests) and s.kept_path is not null;
end;
$$;

comment on function copperplate.discard_inputs(text[]) is
'Remove the clean copies of source pictures that are taken down. Whoever calls it holds the lineage.';
revoke all on function copperplate.discard_inputs(text[]) from public, anon, authenticated;
grant execute on function copperplate.discard_inputs(text[]) to service_role;
