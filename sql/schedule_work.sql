-- CHANGES the schedule: every minute in which promised pictures are due, the deployment is asked to make them.
-- With pg_cron, pg_net and Vault: Dashboard, Integrations. Put the address of the deployment in place of this one, and
-- its CRON_SECRET into Vault before: select vault.create_secret('THE-SECRET', 'copperplate-cron').
-- May be run again: a job of the same name is replaced. It ends by: select cron.unschedule('copperplate-work').
select
    cron.schedule(
        'copperplate-work',
        '* * * * *',
        $$
        select net.http_post(
            url => 'https://your-deployment.example/api/work',
            body => '{}',
            headers => jsonb_build_object(
                'Content-Type', 'application/json',
                'Authorization', 'Bearer ' || s.decrypted_secret
            ),
            timeout_milliseconds => 60000
        )
        from vault.decrypted_secrets as s
        where s.name = 'copperplate-cron' and public.is_work_due()
        $$
    ) as work;
