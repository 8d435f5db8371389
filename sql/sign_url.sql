-- What is the signed URL of a picture? Whoever has it may have that picture made until it expires.
-- Put an id and its secret of COPPERPLATE_URL_SIGNING_KEYS in place of these. An editor keeps what is run in it:
-- with Supabase Vault, p_secret => (select decrypted_secret from vault.decrypted_secrets where name = 'url-signing').
-- Append the answer to the address of the deployment; give p_model too where its default is not fal-ai/flux/schnell.
select public.sign_picture_url(
    p_prompt => 'A beautiful sunset over the sea',
    p_width => 1024,
    p_height => 1024,
    p_format => 'jpg',
    p_key_id => '2026-11',
    p_secret => 'PUT-THE-SECRET-OF-THAT-ID-HERE-----',
    p_expires_at => now() + interval '30 days'
) as path;
