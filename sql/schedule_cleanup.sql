-- CHANGES the schedule: the database cleans up by itself, every hour. With pg_cron: Dashboard, Integrations, Cron.
-- Rows go here; their objects are removed from the store by GET /api/cache/cleanup, which keeps its own schedule.
-- May be run again: a job of the same name is replaced.
select
    cron.schedule('copperplate-sweep', '*/10 * * * *', 'select public.sweep_generations(100)') as sweep,
    cron.schedule('copperplate-cleanup', '17 * * * *', 'select public.cleanup_old_cache_entries()') as cleanup,
    cron.schedule('copperplate-memoji', '32 * * * *', 'select public.cleanup_old_memoji()') as memoji,
    cron.schedule('copperplate-processed', '40 * * * *', 'select public.cleanup_old_processed_images()') as processed,
    cron.schedule('copperplate-failures', '47 * * * *', 'select public.cleanup_old_generation_status()') as failures;
