-- Signed URLs made in SQL: the signatures that the server verifies. Secrets are arguments and are kept in no table.
-- ZC001: what was given cannot be signed. No message repeats a prompt or a secret.

create function copperplate.hmac_sha256(p_key bytea, p_message bytea)
returns bytea
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
    -- RFC 2104 with a block of 64 bytes
    with block as (
        select case when length(p_key) > 64 then sha256(p_key) else p_key end as key
    ),

    pads as (
        select
            string_agg(set_byte('\x00'::bytea, 0, b.byte # 54), ''::bytea order by n.n) as inner_pad,
            string_agg(set_byte('\x00'::bytea, 0, b.byte # 92), ''::bytea order by n.n) as outer_pad
        from block as k
        cross join generate_series(0, 63) as n (n)
        cross join lateral (select case when n.n < length(k.key) then get_byte(k.key, n.n) else 0 end) as b (byte)
    )

    select sha256(p.outer_pad || sha256(p.inner_pad || p_message))
    from pads as p;
$$;

comment on function copperplate.hmac_sha256(bytea, bytea) is
'HMAC-SHA256 (RFC 2104) by the built-in sha256(): pgcrypto may be absent, and lies in a schema of its owner''s choice.';

revoke all on function copperplate.hmac_sha256(bytea, bytea) from public, anon, authenticated;
grant execute on function copperplate.hmac_sha256(bytea, bytea) to service_role;


create function copperplate.percent_encode(p_text text)
returns text
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
    select string_agg(
        case
            when c.letter collate "C" ~ '^[A-Za-z0-9._~-]$' then c.letter
            else regexp_replace(upper(encode(convert_to(c.letter, 'UTF8'), 'hex')), '(..)', '%\1', 'g')
        end,
        '' order by c.n
    )
    from string_to_table(p_text, null) with ordinality as c (letter, n);
$$;

comment on function copperplate.percent_encode(text) is
'A text as the value of a query parameter: its UTF-8 bytes, all but the unreserved characters of RFC 3986 as %XX.';

revoke all on function copperplate.percent_encode(text) from public, anon, authenticated;
grant execute on function copperplate.percent_encode(text) to service_role;


create function public.sign_generation(
    p_generation_key text, p_key_id text, p_secret text, p_expires_at timestamptz
)
returns text
language plpgsql
stable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_fault text := case
        when (p_generation_key collate "C" ~ '^[0-9a-f]{64}$') is not true
            then 'A generation key has 64 hexadecimal digits.'
        when (p_key_id collate "C" ~ '^[a-z0-9-]{1,16}$') is not true
            then 'A key id has 1 to 16 of a-z, 0-9 and -.'
        when (p_secret collate "C" ~ '^[!-+.-~-]+$' and length(p_secret) between 32 and 1000) is not true
            then 'A secret has 32 to 1000 ASCII characters, without spaces and commas.'
        when (p_expires_at > 'epoch' and p_expires_at < '9999-12-31 00:00:00+00') is not true
            then 'A signature expires after 1970 and before 9999-12-31.'
    end;
    v_expires text;
begin
    if v_fault is not null then
        raise exception using
            errcode = 'ZC001', message = v_fault, hint = 'Ids and secrets are those of COPPERPLATE_URL_SIGNING_KEYS.';
    end if;
    -- the full hour at or after it, so that a CDN sees one address for an hour
    v_expires := (ceil(extract(epoch from p_expires_at) / 3600)::bigint * 3600)::text;
    return format('kid=%s&exp=%s&sig=%s', p_key_id, v_expires, translate(
        encode(
            copperplate.hmac_sha256(
                convert_to(p_secret, 'UTF8'),
                convert_to(concat_ws(e'\n', 'copperplate-url-v1', p_key_id, v_expires, p_generation_key), 'UTF8')
            ),
            'base64'
        ),
        '+/=', '-_'  -- base64url, without padding
    ));
end
$$;

comment on function public.sign_generation(text, text, text, timestamptz) is
'The signature of one generation, to append to any address of it: kid=…&exp=…&sig=….

The expiry is rounded up to the hour. The secret is an argument: it may stand in the log of a database that logs
statements, and in the saved queries of an editor; Supabase Vault keeps it from both. Raises ZC001 for what could not be
verified.';

revoke all on function public.sign_generation(text, text, text, timestamptz) from public, anon, authenticated;
grant execute on function public.sign_generation(text, text, text, timestamptz) to service_role;


create function public.sign_picture_url(
    p_prompt text,
    p_width integer,
    p_height integer,
    p_key_id text,
    p_secret text,
    p_expires_at timestamptz,
    p_format text default 'jpg',
    p_model text default null,
    p_seed text default '',
    p_settings text[] default null
)
returns text
language plpgsql
stable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_generation_key text := public.image_cache_key(
        p_prompt, p_width, p_height, coalesce(p_model, 'fal-ai/flux/schnell'), p_seed, p_settings
    );
begin
    if (p_format in ('jpg', 'jpeg', 'png', 'webp', 'avif', 'auto')) is not true then
        raise exception using
            errcode = 'ZC001', message = 'There is no such format.', hint = 'Give jpg, jpeg, png, webp, avif or auto.';
    end if;
    return concat(
        format('/%sx%s.%s?text=', p_width, p_height, p_format),
        copperplate.percent_encode(copperplate.fold_text(p_prompt)),
        '&model=' || copperplate.percent_encode(p_model),
        '&seed=' || nullif(p_seed, ''),
        '&' || public.sign_generation(v_generation_key, p_key_id, p_secret, p_expires_at)
    );
end
$$;

comment on function public.sign_picture_url(
    text, integer, integer, text, text, timestamptz, text, text, text, text[]
) is
'Path and query of a picture, signed: whoever has it may have the picture made until it expires.

Sizes in pixels. Without a model the address names none and is signed for fal-ai/flux/schnell: give p_model where the
deployment has another default. Settings that are null are the model''s standard ones, as in image_cache_key. See
sign_generation for the secret. Raises ZC001 for what the server would refuse.';

revoke all on function public.sign_picture_url(
    text, integer, integer, text, text, timestamptz, text, text, text, text[]
) from public, anon, authenticated;
grant execute on function public.sign_picture_url(
    text, integer, integer, text, text, timestamptz, text, text, text, text[]
) to service_role;
