"""The address of a broker, as a URL names it."""

import pytest

from server.mqtt.address import BrokerAddress, parse_broker


class TestAddress:
    @pytest.mark.parametrize(
        ("url", "address"),
        [
            ("mqtt://a", BrokerAddress("a", 1883)),
            ("mqtts://me:s%40y@a.b:9/", BrokerAddress("a.b", 9, True, "me", "s@y")),
            ("mqtt://[::1]:7", BrokerAddress("::1", 7)),
            ("mqtts://a?ca=/b/c%20d.pem", BrokerAddress("a", 8883, True, ca="/b/c d.pem")),
        ],
    )
    def test_parts(self, url, address):
        assert parse_broker(url) == address

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "a:1883",
            "http://a",
            "mqtt://",
            "mqtt://a:x",
            "mqtt://a:1/b",
            "mqtt://a:99999",
            "mqtt://a..b",
            "mqtt://" + "a" * 64,
        ],
    )
    def test_an_error_names_the_remedy(self, url):
        with pytest.raises(ValueError, match=r"write it like mqtt://HOST:1883"):
            parse_broker(url)

    @pytest.mark.parametrize("url", ["mqtt://a?ca=b", "mqtts://a?ca=", "mqtts://a?cafile=b", "mqtts://a?ca=b&x=1"])
    def test_only_a_ca_may_follow_and_only_with_tls(self, url):
        with pytest.raises(ValueError, match=r"write it like mqtts://HOST:8883\?ca=FILE\.pem"):
            parse_broker(url)

    def test_a_password_is_never_shown(self):
        with pytest.raises(ValueError, match="is not the URL") as fault:
            parse_broker("http://me:secret@a")
        assert "secret" not in str(fault.value) and "secret" not in parse_broker("mqtt://me:secret@a").shown
