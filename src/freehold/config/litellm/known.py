"""Fields of a LiteLLM configuration that have no place in freehold.yaml, each with the reason. Data only.

Read from https://docs.litellm.ai/docs/proxy/config_settings and litellm/types/router.py (October 2026). What stands
neither here nor in the code that converts is unknown, and dropped as that.
"""

TOP = {
    "guardrails": "guardrails are not part of freehold.yaml yet",
    "policies": "guardrails are not part of freehold.yaml yet",
    "policy_attachments": "guardrails are not part of freehold.yaml yet",
    "prompts": "Freehold keeps no prompts; applications send them",
    "mcp_servers": "Freehold does not serve MCP tools yet",
    "mcp_tools": "Freehold does not serve MCP tools yet",
    "mcp_aliases": "Freehold does not serve MCP tools yet",
    "search_tools": "Freehold does not serve search tools",
    "vector_store_registry": "retrieval is left to applications",
    "agent_list": "Freehold does not serve agents",
    "files_settings": "the files API of providers is not served",
    "finetune_settings": "the fine-tuning API of providers is not served",
    "batch_settings": "the batch API of providers is not served",
    "assistant_settings": "the assistants API is not served",
    "callback_settings": "there are no callbacks: the ledger and /metrics are built in",
    "worker_registry": "there is no control plane over several gateways",
    "cli_config": "options of LiteLLM's own command line",
}
"""Sections."""

_DEFAULTS = "Freehold adds no parameters to a request; let the application send it"
_LIMIT = "there is no limit per deployment; keys have requests_per_minute and tokens_per_minute"
_BUDGET = "budgets belong to keys in freehold.yaml: give a key budget: $200/month"
_TAGS = "there is no routing by tags; give each group of clients a key with its own models"
_PRICE = "ModelFacts has input, output and cached prices per token only"
_MOCK = "a made-up answer; freehold fake is a provider that answers from a script"
_SIGN = "Freehold does not sign in by this means yet"
_STORAGE = "object storage for files and batches is not used"
_LOGS = "there are no callbacks: freehold usage, /metrics and the ledger show every request"
_CACHE = "Freehold has no response cache"
_REDIS = "workers share limits and health without Redis"
_DATABASE = "Freehold keeps its own store under FREEHOLD_HOME; keys and spend of LiteLLM's database do not come along"
_LOGIN = "there is no sign-in but by key"
_UI = "there is no such page"
_HEALTH = "health is learnt from real requests (breaker), not from probes"
_CLIENT = "what a client may send along is fixed"
_PASS = "paths of providers are not passed through"  # noqa: S105 a sentence, not a secret
_TEAMS = "there are no teams or users in freehold.yaml; give keys"
_CODE = "Python named in a configuration is never run"
_TUNING = "a switch of LiteLLM's own inner workings"
_AUTO = "a router of LiteLLM's own; see `models.NAME: {among: [...]}` for an automatic choice"
_REFUSED = "an answer that a provider refused is given to the client, not asked for again"
_GUARD = "guardrails are not part of freehold.yaml yet"


def _table(**groups: tuple[str, str]) -> dict[str, str]:
    return {name: reason for reason, names in groups.values() for name in names.split()}


PARAMS = _table(
    defaults=(
        _DEFAULTS,
        "temperature top_p top_k min_p n stop max_tokens max_completion_tokens presence_penalty frequency_penalty"
        " repetition_penalty logit_bias user seed response_format tools tool_choice functions function_call"
        " parallel_tool_calls logprobs top_logprobs reasoning_effort thinking modalities prediction audio stream"
        " stream_options metadata verbosity service_tier safety_identifier web_search_options extra_body"
        " prompt_cache_key store num_ctx keep_alive dimensions encoding_format input_type roles initial_prompt_value"
        " final_prompt_value bos_token eos_token cache_control_injection_points system prompt_id prompt_variables"
        " default_query extra_query allowed_openai_params additional_drop_params supports_system_message"
        " merge_reasoning_content_in_choices",
    ),
    limit=(_LIMIT, "rpm tpm itpm otpm max_parallel_requests default_api_key_tpm_limit default_api_key_rpm_limit"),
    budget=(_BUDGET, "max_budget budget_duration"),
    tags=(_TAGS, "tags tag_regex"),
    price=(
        _PRICE,
        "input_cost_per_second output_cost_per_second input_cost_per_character output_cost_per_character"
        " input_cost_per_pixel output_cost_per_pixel input_cost_per_image output_cost_per_image"
        " input_cost_per_audio_token output_cost_per_audio_token input_cost_per_audio_per_second"
        " output_cost_per_reasoning_token cache_creation_input_token_cost input_cost_per_token_batches"
        " output_cost_per_token_batches input_cost_per_token_above_128k_tokens"
        " output_cost_per_token_above_128k_tokens input_cost_per_token_above_200k_tokens"
        " output_cost_per_token_above_200k_tokens cache_creation_input_token_cost_above_1hr input_cost_per_query"
        " input_cost_per_token_priority output_cost_per_token_priority input_cost_per_token_flex"
        " output_cost_per_token_flex search_context_cost_per_query ocr_cost_per_page",
    ),
    mock=(_MOCK, "mock_response mock_timeout mock_delay"),
    sign=(
        _SIGN,
        "tenant_id client_id client_secret azure_scope azure_username azure_password azure_certificate_path"
        " use_xai_oauth vertex_project vertex_location vertex_credentials vertex_ai_project vertex_ai_location"
        " vertex_ai_credentials region_name aws_access_key_id"
        " aws_secret_access_key aws_session_token aws_region_name aws_session_name aws_profile_name aws_role_name"
        " aws_web_identity_token aws_sts_endpoint aws_external_id aws_session_tags aws_bedrock_runtime_endpoint"
        " aws_bedrock_project_id watsonx_region_name project_id space_id token",
    ),
    storage=(
        _STORAGE,
        "gcs_bucket_name bucket_name s3_bucket_name s3_endpoint_url s3_region_name s3_access_key_id"
        " s3_secret_access_key s3_encryption_key_id s3_bucket_owner aws_batch_role_arn s3_output_bucket_name"
        " bedrock_tags max_file_size_mb vector_store_id milvus_text_field milvus_db_name milvus_partition_names"
        " valkey_host valkey_port valkey_password valkey_ssl valkey_text_field valkey_embedding_field"
        " vector_bucket_name index_name embedding_model",
    ),
    client=(_CLIENT, "configurable_clientside_auth_params allow_client_keepalive_override"),
    passing=(_PASS, "use_in_pass_through"),
    code=(_CODE, "custom_prompt_dict custom_handler custom_hooks"),
    guard=(_GUARD, "guardrails aws_bedrock_guardrail guardrailConfig"),
    auto=(
        _AUTO,
        "auto_router_config_path auto_router_config auto_router_default_model auto_router_embedding_model"
        " auto_router_max_input_chars auto_router_routing_compression auto_router_model_compression"
        " complexity_router_config complexity_router_default_model adaptive_router_default_model"
        " adaptive_router_config quality_router_config quality_router_default_model",
    ),
    tuning=(
        _TUNING,
        "keepalive_seconds litellm_trace_id use_litellm_proxy use_chat_completions_api drop_params ssl_verify"
        " provider_affinity_header cooldown_time caching cache ttl no-log model_id force_timeout logger_fn verbose"
        " litellm_metadata preset_cache_key proxy_server_request",
    ),
    retries=("retries are set once, for all deployments together: `retries`", "max_retries num_retries"),
)
"""litellm_params."""

INFO = _table(
    identity=("a deployment is called provider/model here", "id db_model created_at created_by updated_at updated_by"),
    free=("a remark; write it as a comment", "description version metadata tier provider litellm_provider key label"),
    teams=(
        _TEAMS,
        "team_id team_public_model_name access_groups access_windows member_auto_router supported_environments"
        " direct_access_group access_via_team_ids",
    ),
    health=(
        _HEALTH,
        "health_check_model health_check_timeout health_check_max_tokens health_check_voice"
        " disable_background_health_check ignore_health_check",
    ),
    price=(_PRICE, " ".join(name for name, reason in PARAMS.items() if reason == _PRICE)),
    tuning=(
        _TUNING,
        "custom_tokenizer allow_fail_open enable_tag_filtering internal_router_model discoverable ptu_count"
        " cost_per_ptu_per_hour ptu_effective_from ptu_effective_to output_vector_size supported_openai_params"
        " supported_regions supported_endpoints supported_modalities supported_output_modalities"
        " tool_use_system_prompt_tokens max_images_per_prompt max_audio_length_hours max_audio_per_prompt"
        " max_video_length max_videos_per_prompt max_pdf_size_mb deprecation_date source rpm tpm",
    ),
    paused=("take its deployments out of freehold.yaml to pause a model", "blocked"),
    assumed=(
        "not among the capabilities that freehold.yaml knows",
        "supports_reasoning supports_web_search supports_url_context supports_prompt_caching supports_native_streaming"
        " supports_assistant_prefill supports_computer_use supports_audio_output supports_embedding_image_input"
        " supports_system_messages supports_tool_choice supports_video_input supports_fast_mode"
        " supported_reasoning_efforts supports_none_reasoning_effort supports_xhigh_reasoning_effort",
    ),
)
"""model_info."""

SETTINGS = _table(
    logs=(
        _LOGS,
        "success_callback failure_callback callbacks service_callback audit_log_callbacks turn_off_message_logging"
        " redact_user_api_key_info langfuse_default_tags langfuse_enable_update_trace_keys json_logs set_verbose"
        " request_correlation_in_logs log_raw_request_response disable_end_user_cost_tracking s3_callback_params"
        " enable_end_user_cost_tracking_prometheus_only disable_token_counter prometheus_metrics_config"
        " custom_prometheus_metadata_labels custom_prometheus_tags prometheus_initialize_budget_metrics"
        " datadog_params gcs_pub_sub_use_v1 return_response_headers store_audit_logs default_team_settings"
        " standard_logging_payload_excluded_fields extra_spend_tag_headers",
    ),
    cache=(_CACHE, "cache cache_params enable_redis_auth_cache caching caching_with_models"),
    teams=(
        _TEAMS,
        "key_generation_settings default_team_params default_key_generate_params upperbound_key_generate_params"
        " default_internal_user_params enable_key_alias_format_validation overwrite_user_with_key_hash"
        " max_end_user_budget_id",
    ),
    budget=(
        _BUDGET,
        "max_budget budget_duration budget_reset_time max_internal_user_budget max_ui_session_budget timezone"
        " default_max_internal_user_budget internal_user_budget_duration max_user_budget max_end_user_budget"
        " cost_discount_config cost_margin_config custom_model_cost_map",
    ),
    code=(_CODE, "custom_provider_map post_call_rules pre_call_rules input_callback"),
    guard=(
        _GUARD,
        "guardrails skip_system_message_in_guardrail skip_tool_message_in_guardrail llm_guard_mode"
        " llamaguard_model_name google_moderation_confidence_threshold banned_keywords_list blocked_user_list"
        " openai_moderations_model_name presidio_ad_hoc_recognizers output_parse_pii",
    ),
    egress=("fetching of URLs in prompts has fixed rules", "user_url_validation user_url_allowed_hosts"),
    files=("the files API of providers is not served", "require_managed_files"),
    mcp=("Freehold does not serve MCP tools yet", "mcp_aliases mcp_semantic_tool_filter"),
    telemetry=("Freehold sends no telemetry", "telemetry"),
    tuning=(
        _TUNING,
        "modify_params enable_preview_features disable_stop_sequence_limit force_ipv4 disable_aiohttp_transport http2"
        " disable_add_transform_inline_image_block use_chat_completions_url_for_anthropic_messages"
        " route_all_chat_openai_to_responses disable_hf_tokenizer_download enable_json_schema_validation"
        " disable_copilot_system_to_assistant add_function_to_prompt ssl_verify ssl_certificate ssl_security_level"
        " drop_unknown_params public_model_groups public_model_groups_links model_alias_map suppress_debug_info"
        " merge_reasoning_content_in_choices headers tag_budget_config default_redis_batch_cache_expiry"
        " allow_dynamic_callback_disabling network_mock",
    ),
    refused=(_REFUSED, "content_policy_fallbacks"),
)
"""litellm_settings."""

ROUTER = _table(
    redis=(_REDIS, "redis_host redis_port redis_password redis_url redis_db redis_ssl redis_username"),
    cache=(_CACHE, "cache_responses cache_kwargs caching_groups"),
    tags=(_TAGS, "enable_tag_filtering tag_filtering_match_any tag_routing_prefix"),
    budget=(_BUDGET, "provider_budget_config"),
    limit=(_LIMIT, "default_max_parallel_requests"),
    defaults=(_DEFAULTS, "default_litellm_params"),
    health=(
        _HEALTH,
        "enable_health_check_routing background_health_check_model_groups health_check_staleness_threshold"
        " health_check_ignore_transient_errors",
    ),
    policies=(
        "one rule for all kinds of failures: `retries` and `breaker`",
        "retry_policy allowed_fails_policy model_group_retry_policy",
    ),
    affinity=(
        "there is no affinity of a client to a deployment",
        "optional_pre_call_checks deployment_affinity_ttl_seconds model_group_affinity_config",
    ),
    wait=("the pause before a retry grows by itself and follows the provider's Retry-After", "retry_after"),
    guard=(_GUARD, "guardrail_list"),
    search=("Freehold does not serve search tools", "search_tools"),
    code=(
        _CODE,
        "plugins fallback_access_check fallback_budget_check auto_router_capability_limit heuristic_v2_router_limit",
    ),
    tuning=(
        _TUNING,
        "client_ttl debug_level set_verbose default_priority polling_interval routing_strategy_args"
        " router_general_settings ignore_invalid_deployments alerting_config assistants_config keepalive_seconds"
        " allow_client_keepalive_override enable_weighted_failover max_fallbacks weights",
    ),
    groups=("one rule for all models: aliases in order of preference", "routing_groups"),
    refused=(_REFUSED, "content_policy_fallbacks"),
)
"""router_settings."""

GENERAL = _table(
    database=(
        _DATABASE,
        "database_url database_type database_args database_connection_pool_limit database_connection_timeout"
        " database_connect_timeout database_socket_timeout database_statement_timeout database_lock_timeout"
        " database_extra_connection_params database_disable_prepared_statements database_connection_pool_timeout"
        " allow_requests_on_db_unavailable store_model_in_db supported_db_objects disable_prisma_schema_update"
        " use_redis_transaction_buffer proxy_batch_write_at proxy_config_reload_interval_seconds"
        " disable_adding_master_key_hash_to_db scheduled_job_stagger",
    ),
    spend=(
        "the ledger is always kept; freehold usage shows it",
        "disable_spend_logs disable_spend_updates store_prompts_in_spend_logs maximum_spend_logs_retention_period"
        " maximum_spend_logs_retention_interval maximum_spend_logs_cleanup_batch_size"
        " maximum_spend_logs_cleanup_max_batches maximum_spend_logs_cleanup_run_budget"
        " maximum_spend_logs_cleanup_batch_timeout maximum_spend_logs_cleanup_cron disable_error_logs"
        " scope_spend_list_endpoints_to_caller legacy_unscoped_spend_list_endpoints spend_report_frequency",
    ),
    budget=(
        _BUDGET,
        "disable_reset_budget fail_closed_budget_enforcement disable_budget_reservation enforce_fallback_budget"
        " proxy_budget_rescheduler_min_time proxy_budget_rescheduler_max_time",
    ),
    login=(
        _LOGIN,
        "enable_jwt_auth litellm_jwtauth enable_oauth2_auth enable_oauth2_proxy_auth oauth2_config_mappings"
        " allow_user_auth enforce_rbac role_permissions service_account_settings custom_auth_run_common_checks"
        " allow_cli_sso_verification_uri_complete auto_redirect_ui_login_to_sso max_failed_login_attempts"
        " max_failed_login_attempts_per_source failed_login_window_seconds disable_env_credential_login"
        " control_plane_url litellm_license user_header_name user_header_mappings",
    ),
    keys=(
        "keys travel as Authorization, x-api-key, x-goog-api-key or api-key",
        "litellm_key_header_name",
    ),
    vaults=(
        "secrets come from the environment; let your secret manager put them there",
        "key_management_system key_management_settings use_azure_key_vault use_google_kms",
    ),
    teams=(
        _TEAMS,
        "default_team_disabled disable_auto_add_proxy_admin_to_teams enforce_user_param enforced_params"
        " enforce_fallback_model_access user_api_key_cache_ttl user_api_key_cache_max_size",
    ),
    code=(
        _CODE,
        "custom_auth custom_sso custom_key_generate custom_key_update custom_key_policy custom_ui_sso_sign_in_handler",
    ),
    ui=(_UI, "ui_access_mode disable_master_key_return"),
    alerts=(
        "there are no alerts; /metrics feeds an alerting system",
        "alerting alerting_threshold alert_types alert_type_config alerting_args alert_to_webhook_url",
    ),
    health=(
        _HEALTH,
        "background_health_checks health_check_interval health_check_details enable_health_check_routing"
        " background_health_check_model_groups health_check_ignore_transient_errors health_check_concurrency"
        " health_check_skip_disabled_background_models health_check_staleness_threshold use_shared_health_check",
    ),
    routes=(
        "which paths exist is fixed; put a reverse proxy in front to hide some",
        "allowed_routes public_routes admin_only_routes allowed_ips use_x_forwarded_for mcp_trusted_proxy_ranges",
    ),
    passing=(_PASS, "pass_through_endpoints pass_through_request_timeout use_client_credentials_pass_through_routes"),
    client=(
        _CLIENT,
        "forward_client_headers_to_llm_api forward_llm_provider_auth_headers forward_openai_org_id"
        " allow_client_side_credentials reject_clientside_metadata_tags missing_session_id",
    ),
    models=(
        "a client's own choice of model is kept",
        "completion_model embedding_model image_generation_model moderation_model infer_model_from_keys",
    ),
    limits=(
        _LIMIT,
        "max_parallel_requests token_rate_limit_type disable_retry_on_max_parallel_request_limit_error"
        " disable_batch_input_file_rate_limiting skip_batch_input_file_rate_limiting_for_providers"
        " skip_batch_input_file_rate_limiting_for_models",
    ),
    queue=(
        "a request over the limit is answered 503 at once, not queued",
        "max_queued_requests_per_worker admission_queue_timeout_seconds",
    ),
    drain=("SIGTERM drains; see server.drain_seconds", "enable_drain_endpoint drain_endpoint_token"),
    files=(
        "the files API of providers is not served",
        "max_batch_file_size_mb max_file_size_mb allowed_file_extensions blocked_file_extensions"
        " proxy_batch_polling_interval",
    ),
    mcp=(
        "Freehold does not serve MCP tools yet",
        "enable_mcp_registry mcp_client_side_auth_header_name mcp_internal_ip_ranges mcp_required_fields"
        " require_end_user_mcp_access_defined require_key_mcp_access_defined user_mcp_management_mode",
    ),
    search=("Freehold does not serve search tools", "search_tools"),
    responses=(
        "stored responses belong to the key that made them",
        "disable_responses_id_security allow_unmanaged_response_ids",
    ),
    large=("answers are streamed on; their size is not limited", "max_response_size_mb"),
    pings=("Freehold sends no comments into a stream", "sse_keepalive_ping_interval_seconds"),
)
"""general_settings."""

ALWAYS = {
    "cancel_on_disconnect": "a call upstream always ends when its client leaves",
    "always_include_stream_usage": "tokens of a stream are always counted",
    "enable_pre_call_checks": "a prompt longer than a model's context is never sent to it",
    "enable_pre_call_check": "a prompt longer than a model's context is never sent to it",
}
"""Switches for what Freehold does anyway, by name in any section."""

HANDLED = {
    *("model", "api_key", "api_base", "base_url", "api_version", "azure_ad_token", "organization", "order", "weight"),
    *("headers", "extra_headers", "default_headers", "custom_llm_provider", "litellm_credential_name", "base_model"),
    *("timeout", "request_timeout", "stream_timeout", "ttft_timeout", "stream_idle_timeout", "num_retries"),
    *("max_retries", "allowed_fails", "cooldown_time", "disable_cooldowns", "drop_params", "model_group_alias"),
    *("fallbacks", "context_window_fallbacks", "default_fallbacks", "routing_strategy", "master_key", "mode"),
    *("max_request_size_mb", "max_in_flight_requests_per_worker", "global_max_parallel_requests", "max_tokens"),
    *("max_input_tokens", "max_output_tokens", "input_cost_per_token", "output_cost_per_token", "model_list"),
    *("cache_read_input_token_cost", "litellm_settings", "router_settings", "general_settings", "include"),
    *("environment_variables", "credential_list", "aws_bedrock_runtime_endpoint"),
}
"""Fields that the code converts where their value allows."""


def why_dropped(name: str, *tables: dict[str, str]) -> str:
    """Returns why a field has no effect here; the first table that knows it decides."""
    for table in (*tables, ALWAYS):
        if name in table:
            return table[name]
    return "its value cannot be used here" if name in HANDLED else "unknown"
