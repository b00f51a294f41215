"""Makes the Grafana dashboards in helm/visavis/files/dashboards from the lists below. `--check` compares instead."""

import json
import sys

from schema import ROOT

FOLDER = ROOT / "helm/visavis/files/dashboards"
J = 'job="visavis",instance=~"$instance"'


def rate(metric, by="", labels="", window="$__rate_interval"):
    """Sum of rates."""
    within = ",".join(filter(None, [J, labels]))
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{within}}}[{window}]))"


def quantile(q, metric, by="", labels=""):
    """Quantile of a histogram."""
    grouped = ", ".join(filter(None, ["le", by]))
    return f"histogram_quantile({q}, {rate(metric + '_bucket', grouped, labels)})"


def ratio(metric, by, window="$__rate_interval"):
    """Share of each value of a label."""
    return f"{rate(metric, by, window=window)} / scalar({rate(metric, window=window)})"


def largest(metric, by="", labels=""):
    """Largest of what several gateways say of the same thing."""
    within = ",".join(filter(None, [J, labels]))
    return f"max{f' by ({by})' if by else ''} ({metric}{{{within}}})"


# Title, unit, help, then queries with their legends.
SERVICE = [
    ("Requests", "reqps", "Answered requests by status.", (rate("visavis_http_requests_total", "status"), "{{status}}")),
    ("Time to answer", "s", "Of requests that were answered well.",
     (quantile(0.5, "visavis_http_request_duration_seconds", labels='status="2xx"'), "half"),
     (quantile(0.95, "visavis_http_request_duration_seconds", labels='status="2xx"'), "95 of 100"),
     (quantile(0.99, "visavis_http_request_duration_seconds", labels='status="2xx"'), "99 of 100")),
    ("Time to answer by route", "s", "99 of 100 answers took less.",
     (quantile(0.99, "visavis_http_request_duration_seconds", "route", 'status="2xx"'), "{{route}}")),
    ("Refused", "reqps", "Requests refused before their body was read, by reason.",
     (rate("visavis_requests_refused_total", "reason"), "{{reason}}")),
    ("Time to a refusal", "s", "From a request's head to its 503.",
     (quantile(0.99, "visavis_refusal_duration_seconds"), "99 of 100")),
    ("Stages", "s", "Mean time by stage, as workers report it with their answers.",
     (f"{rate('visavis_request_stage_seconds_sum', 'stage')} / {rate('visavis_request_stage_seconds_count', 'stage')}",
      "{{stage}}")),
    ("In work", "short", "At each gateway.",
     (f"visavis_http_requests_in_flight{{{J}}}", "requests {{instance}}"),
     (f"visavis_gateway_pending_jobs{{{J}}}", "jobs waited for {{instance}}")),
    ("Connections", "short", "At each gateway.", (f"visavis_connections{{{J}}}", "{{instance}}")),
    ("Tenants", "reqps", "Requests by tenant.", (rate("visavis_tenant_requests_total", "tenant"), "{{tenant}}")),
]  # fmt: skip
QUEUE = [
    ("Workers", "short", "As gateways see them.", (largest("visavis_workers"), "workers")),
    ("Waiting", "short", "Jobs nobody has taken: what workers are scaled by.",
     (largest("visavis_queue_depth", "lane"), "{{lane}}")),
    ("Oldest", "s", "How long the oldest job has waited.",
     (largest("visavis_queue_oldest_age_seconds", "lane"), "{{lane}}")),
    ("In workers' hands", "short", "By lane.", (largest("visavis_queue_in_flight", "lane"), "{{lane}}")),
    ("Dead letters", "short", "Jobs given up and kept for an operator.",
     (largest("visavis_queue_dead_letters", "lane"), "{{lane}}")),
    ("Jobs", "ops", "Done by workers, by kind and outcome.",
     (rate("visavis_jobs_total", "kind, outcome"), "{{kind}} {{outcome}}")),
    ("Not worked on", "ops", "Jobs taken off a lane without work, by reason.",
     (rate("visavis_jobs_rejected_total", "reason"), "{{reason}}")),
    ("In work", "short", "At each worker.", (f"visavis_jobs_in_flight{{{J}}}", "{{instance}}")),
    ("Stages", "s", "95 of 100 jobs took less, by stage.",
     (quantile(0.95, "visavis_stage_seconds", "stage"), "{{stage}}")),
    ("Model runs", "ops", "By model.", (rate("visavis_model_run_seconds_count", "model"), "{{model}}")),
    ("Time of a model run", "s", "Half, and 99 of 100.",
     (quantile(0.5, "visavis_model_run_seconds", "model"), "{{model}} half"),
     (quantile(0.99, "visavis_model_run_seconds", "model"), "{{model}} 99 of 100")),
    ("Batches", "short", "Mean items in a run; on processors always one.",
     (f"{rate('visavis_batch_size_sum', 'model')} / {rate('visavis_batch_size_count', 'model')}", "{{model}}")),
    ("Wait for a batch", "s", "95 of 100 items waited less.",
     (quantile(0.95, "visavis_batch_wait_seconds", "model"), "{{model}}")),
    ("Leases lost", "short", "Each time every gallery was let go.",
     (f"increase(visavis_worker_fenced_total{{{J}}}[1h])", "{{instance}}")),
]  # fmt: skip
RECOGNITION = [
    ("Decisions", "percentunit", "Share of each within an hour.",
     (ratio("visavis_decisions_total", "decision", "1h"), "{{decision}}")),
    ("Best score of a search", "short", "A tenth, half, nine tenths of searches lie below.",
     (quantile(0.1, "visavis_top_score"), "a tenth"), (quantile(0.5, "visavis_top_score"), "half"),
     (quantile(0.9, "visavis_top_score"), "nine tenths")),
    ("Searches", "ops", "", (rate("visavis_top_score_count"), "searches")),
    ("Pictures at enrolment", "ops", "By outcome.", (rate("visavis_enrolment_faces_total", "outcome"), "{{outcome}}")),
    ("Enrolled", "short", "Persons by tenant, as last counted.",
     (f"sum by (tenant) ({largest('visavis_enrolled_subjects', 'tenant, collection')})", "{{tenant}}")),
    ("Erased for age", "short", "Within an hour, by reason.",
     (f"sum by (reason) (increase(visavis_retention_erased_total{{{J}}}[1h]))", "{{reason}}")),
]  # fmt: skip
TRAINING = [
    ("Runs under way", "short", "And runs that wait for a trainer.",
     (f"sum (visavis_training_active{{{J}}})", "under way"),
     (largest("visavis_queue_depth", labels='lane="train"'), "waiting")),
    ("Progress", "percentunit", "Of the run at each trainer.",
     (f"visavis_training_step{{{J}}} / (visavis_training_steps{{{J}}} > 0)", "{{instance}}")),
    ("Loss", "short", "Of the last step.", (f"visavis_training_loss{{{J}}}", "{{instance}}")),
    ("Learning rate", "sci", "Of the last step.", (f"visavis_training_learning_rate{{{J}}}", "{{instance}}")),
    ("Pictures a second", "short", "Learnt from.", (f"visavis_training_images_per_second{{{J}}}", "{{instance}}")),
    ("Runs that ended", "short", "Within an hour, by outcome; what is neither done nor cancelled is why it failed.",
     (f"sum by (outcome) (increase(visavis_training_runs_total{{{J}}}[1h])) > 0", "{{outcome}}")),
    ("Gone on with, and begun anew", "short", "Within an hour: after a trainer ended, and without somebody.",
     (f"sum (increase(visavis_training_resumed_total{{{J}}}[1h]))", "gone on with"),
     (f"sum (increase(visavis_training_restarted_total{{{J}}}[1h]))", "begun anew")),
    ("Gate", "short", "Models held against the one that answers, within an hour.",
     (f"sum by (outcome) (increase(visavis_gate_decisions_total{{{J}}}[1h]))", "{{outcome}}")),
    ("Promotions", "ops", "Faces embedded anew, or left behind without a crop.",
     (rate("visavis_reembedded_faces_total", "outcome"), "{{outcome}}")),
    ("Models loaded", "short", "Workers that have each.",
     (f"sum by (name) (visavis_embedder_info{{{J}}})", "{{name}}")),
]  # fmt: skip
PROCESSES = [
    ("Memory", "bytes", "Resident.", (f"process_resident_memory_bytes{{{J}}}", "{{instance}}")),
    ("Processor", "short", "Cores in use.",
     (f"rate(process_cpu_seconds_total{{{J}}}[$__rate_interval])", "{{instance}}")),
    ("Threads", "short", "", (f"process_threads{{{J}}}", "{{instance}}")),
    ("Open files", "short", "", (f"process_open_fds{{{J}}}", "{{instance}}")),
]  # fmt: skip
DASHBOARDS = {
    "service": ("Visavis: service", SERVICE),
    "queue": ("Visavis: queue and workers", QUEUE),
    "recognition": ("Visavis: recognition", RECOGNITION),
    "training": ("Visavis: training and promotion", TRAINING),
    "processes": ("Visavis: processes", PROCESSES),
}

SOURCE = {"type": "prometheus", "uid": "${source}"}


def panel(number, entry):
    """A graph, half as wide as the page."""
    title, unit, about, *queries = entry
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "gridPos": {"h": 8, "w": 12, "x": number % 2 * 12, "y": number // 2 * 8},
        # Scores may be negative; nothing else here is.
        "fieldConfig": {"defaults": {"unit": unit} | ({} if "score" in title else {"min": 0}), "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(65 + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for i, (expr, legend) in enumerate(queries)
        ],
    }


def dashboard(uid, title, panels):
    """A whole one."""
    instances = {"query": 'label_values(up{job="visavis"}, instance)', "refId": "instances"}
    return {
        "uid": f"visavis-{uid}",
        "title": title,
        "tags": ["visavis"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"},
                {"name": "instance", "type": "query", "label": "Process", "datasource": SOURCE, "query": instances,
                 "includeAll": True, "allValue": ".*", "multi": True, "refresh": 2,
                 "current": {"text": "All", "value": "$__all"}},
            ]
        },
        "panels": [panel(i, entry) for i, entry in enumerate(panels)],
    }  # fmt: skip


def main():
    """The command."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = {f"{uid}.json": json.dumps(dashboard(uid, *rest), indent=1) + "\n" for uid, rest in DASHBOARDS.items()}
    if "--check" not in sys.argv:
        for name, text in made.items():
            (FOLDER / name).write_text(text)
        return
    there = {p.name: p.read_text() for p in FOLDER.glob("*")}
    if there != made:
        sys.exit("helm/visavis/files/dashboards is not what deploy/tools/dashboards.py makes: .ci/ops --write")


if __name__ == "__main__":
    main()
